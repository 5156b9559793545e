/** What metrics, logs and traces cost: the loads of publish and fan-out, on servers that differ in nothing else. */
import type { Observed } from "../processes/tributary-server.ts";
import { openTarget } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";
import { runFollowLoad, toFollowFigures } from "./follow-load.ts";
import { toPublishedFigures } from "./published.ts";

const payloadBytes = 100;
const inFlight = 32;

const observers: readonly (readonly [Observed, string])[] = [
  ["not", "metrics and logs out"],
  ["all", "metrics, logs at info, tracing off"],
  ["traced", "the same, each call traced"],
];

export const observability: Case = {
  name: "observability",
  about: "PublishTaskEvents, each message a call of its own, closed loop; readers of one tree at 50 events/s",
  columns: [
    "eventsPerSecond",
    "ackP50Ms",
    "deliveriesPerSecond",
    "p50Ms",
    "p99Ms",
    "serverCpuUs",
    "serverCpuPercent",
  ],
  contests(size) {
    const messages = bySize(size, { full: [1, 10], quick: [1, 10], smoke: [10] });
    const readers = bySize(size, { full: [1000], quick: [1000], smoke: [20] });
    return [
      ...messages.map((eventsPerMessage) => ({
        point: `publish: ${eventsPerMessage} a message, 8 streams, ${inFlight} in flight`,
        contenders: observers.map(([observed, name]) => publisher(observed, name, eventsPerMessage)),
      })),
      ...readers.map((count) => ({
        point: `fan-out: ${count} readers`,
        contenders: observers.map(([observed, name]) => fanOut(observed, name, count)),
      })),
    ];
  },
};

function publisher(observed: Observed, name: string, eventsPerMessage: number): Contender {
  return {
    name,
    async run(bench) {
      const target = await openTarget(bench, "tributary", { observed });
      const client = await bench.spawn("publisher", target.address);
      const load = { workflows: await target.workflows(8), eventsPerMessage, payloadBytes, inFlight };
      await client.call("closedLoop", { ...load, seconds: bench.warmUpSeconds });
      const { result, used } = await bench.measure(target.server, [client], () =>
        client.call("closedLoop", { ...load, seconds: bench.seconds }),
      );
      return toPublishedFigures(result, used);
    },
  };
}

function fanOut(observed: Observed, name: string, readers: number): Contender {
  return {
    name,
    async run(bench) {
      const target = await openTarget(bench, "tributary", { observed });
      const load = { workflows: 1, readers, perSecond: 50, eventsPerMessage: 1, payloadBytes };
      return toFollowFigures(await runFollowLoad(bench, target, { ...load, via: "call each" }));
    },
  };
}
