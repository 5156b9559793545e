/**
 * What metrics, logs and traces cost, on servers that differ in nothing else. The difference is smaller than that of two runs on a
 * machine that others share, so both servers are there at the same time, under the same load in turns of a second or two, and
 * what counts is the median over the pairs of turns.
 */
import type { Bench } from "../bench.ts";
import type { Observed } from "../processes/tributary-server.ts";
import { openTarget } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";

const payloadBytes = 100;
const inFlight = 32;
const perSecond = 50;
/** How long deliveries of a turn are waited for, ms. */
const drainMs = 3000;

const observers: readonly (readonly [Observed, string])[] = [
  ["all", "metrics, logs at info, tracing off"],
  ["traced", "the same, each call traced"],
];

export const observability: Case = {
  name: "observability",
  about:
    "CPU of the server against one without metrics and logs that takes the same load in turns: PublishTaskEvents, each message a call of its own, closed loop, by event; readers of one tree at 50 events/s, by delivery",
  columns: ["turns", "withoutCpuUs", "serverCpuUs", "againstWithout", "lowestAgainst", "highestAgainst"],
  contests(size) {
    const messages = bySize(size, { full: [1, 10, 100], quick: [1, 100], smoke: [10] });
    const readers = bySize(size, { full: [1000], quick: [1000], smoke: [20] });
    const pairs = bySize(size, { full: 12, quick: 6, smoke: 2 });
    const contest = (point: string, open: OpenSide) => ({
      point,
      contenders: observers.map(([observed, name]) => against(observed, name, pairs, open)),
    });
    return [
      ...messages.map((count) =>
        contest(`publish: ${count} a message, 8 streams, ${inFlight} in flight`, openPublisher(count)),
      ),
      ...readers.map((count) => contest(`fan-out: ${count} readers`, openFanOut(count))),
    ];
  },
};

/** One server under its load. */
interface Side {
  /** A turn; CPU of the server by event or delivery, µs. */
  turn(seconds: number): Promise<number>;
}

type OpenSide = (bench: Bench, observed: Observed) => Promise<Side>;

function against(observed: Observed, name: string, pairs: number, open: OpenSide): Contender {
  return {
    name,
    async run(bench) {
      const without = await open(bench, "not");
      const own = await open(bench, observed);
      for (const side of [without, own]) await side.turn(bench.warmUpSeconds);
      const seconds = Math.min(2, bench.seconds);
      const turns: { readonly without: number; readonly own: number }[] = [];
      for (let i = 0; i < pairs; i += 1) {
        const inOrder = i % 2 === 0;
        const first = await (inOrder ? without : own).turn(seconds);
        const second = await (inOrder ? own : without).turn(seconds);
        turns.push(inOrder ? { without: first, own: second } : { without: second, own: first });
      }
      const ratios = turns.map((turn) => turn.own / turn.without).toSorted((a, b) => a - b);
      return {
        turns: pairs,
        withoutCpuUs: median(turns.map((turn) => turn.without)),
        serverCpuUs: median(turns.map((turn) => turn.own)),
        againstWithout: median(ratios),
        lowestAgainst: ratios[0] ?? 0,
        highestAgainst: ratios.at(-1) ?? 0,
      };
    },
  };
}

const openPublisher =
  (eventsPerMessage: number): OpenSide =>
  async (bench, observed) => {
    const target = await openTarget(bench, "tributary", { observed });
    const client = await bench.spawn("publisher", target.address);
    const load = { workflows: await target.workflows(8), eventsPerMessage, payloadBytes, inFlight };
    return {
      async turn(seconds) {
        const { result, used } = await bench.measure(target.server, [client], () =>
          client.call("closedLoop", { ...load, seconds }),
        );
        return (used.server?.cpuUs ?? 0) / (result.sent ?? result.messages) / eventsPerMessage;
      },
    };
  };

const openFanOut =
  (readers: number): OpenSide =>
  async (bench, observed) => {
    const target = await openTarget(bench, "tributary", { observed });
    const reader = await bench.spawn("reader", target.address);
    const publisher = await bench.spawn("publisher", target.address);
    const workflows = await target.workflows(1);
    await reader.call("subscribe", workflows, readers, "tree");
    const load = { workflows, perSecond, eventsPerMessage: 1, payloadBytes, via: "call each" as const };
    return {
      async turn(seconds) {
        await reader.call("reset");
        const { result, used } = await bench.measure(target.server, [reader, publisher], async () => {
          const { messages } = await publisher.call("openLoop", { ...load, seconds });
          return await reader.call("finish", messages * readers, drainMs);
        });
        return (used.server?.cpuUs ?? 0) / result.events;
      },
    };
  };

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? 0)) / 2;
}
