/**
 * The load that several cases share: readers that are live, a publisher with a timetable, and the wait for what is still on
 * its way. Every delivery is counted, and its latency is from the planned send to the arrival.
 */
import type { Bench, Used } from "../bench.ts";
import type { Delivered } from "../load/delivery-count.ts";
import type { Published, Via } from "../load/publisher.ts";
import type { SettledMemory } from "../measure/usage.ts";
import type { Figures } from "../report/figures.ts";
import type { Target } from "../targets.ts";

export interface FollowLoad {
  readonly workflows: number;
  readonly readers: number;
  /** Subscriptions that are never read, of the first workflow. */
  readonly stalled?: number;
  /** Messages. */
  readonly perSecond: number;
  readonly eventsPerMessage: number;
  readonly payloadBytes: number;
  readonly via: Via;
  /** Length, in measuring phases; 1 if absent. */
  readonly phases?: number;
  /** Also measures the server's memory after garbage collection, before and after, with all readers still there. */
  readonly settled?: true;
}

export interface Followed {
  readonly published: Published;
  readonly delivered: Delivered;
  readonly expected: number;
  readonly memory: { readonly before: SettledMemory; readonly after: SettledMemory } | undefined;
  readonly used: Used;
}

/** How long after the last acknowledgement deliveries are waited for, ms. */
const drainMs = 3000;

/**
 * Code is compiled by being used: at ten events a second a fresh server would be measured cold for minutes, which a server
 * that has run for a while is not. So the warm-up aims at so many deliveries, messages and bytes per second at most.
 */
const warmUp = { deliveries: 20_000, messages: 1000, bytes: 4e6 };

const warmUpRate = (load: FollowLoad, readersOfEach: number): number =>
  Math.max(
    load.perSecond,
    Math.min(
      warmUp.messages,
      warmUp.deliveries / load.eventsPerMessage / readersOfEach,
      warmUp.bytes / load.eventsPerMessage / load.payloadBytes,
    ),
  );

export async function runFollowLoad(bench: Bench, target: Target, load: FollowLoad): Promise<Followed> {
  const reader = await bench.spawn("reader", target.address);
  const publisher = await bench.spawn("publisher", target.address);
  const workflows = await target.workflows(load.workflows);
  await reader.call("subscribe", workflows, load.readers);
  for (let i = 0; i < (load.stalled ?? 0); i += 1) await reader.call("stall", workflows[0] ?? "");
  // An event reaches every reader of its workflow.
  const readersOfEach = load.readers / load.workflows;
  const deliveries = ({ events }: Published) => events * readersOfEach;

  const perSecond = warmUpRate(load, readersOfEach);
  const warm = await publisher.call("openLoop", {
    ...load,
    workflows,
    perSecond,
    seconds: bench.warmUpSeconds,
  });
  await reader.call("finish", deliveries(warm), drainMs);
  const settle = () => (load.settled ? target.server.own("settledMemory") : undefined);
  const before = await settle();
  await reader.call("reset");
  const { result, used } = await bench.measure(target.server, [reader, publisher], async () => {
    const published = await publisher.call("openLoop", {
      ...load,
      workflows,
      seconds: bench.seconds * (load.phases ?? 1),
    });
    const delivered = await reader.call("finish", deliveries(published), drainMs);
    return { published, delivered };
  });
  const after = await settle();
  const memory = before === undefined || after === undefined ? undefined : { before, after };
  return { ...result, expected: deliveries(result.published), memory, used };
}

export const toFollowFigures = ({ published, delivered, expected, memory, used }: Followed): Figures => ({
  p50Ms: delivered.latency.p50Ms,
  p90Ms: delivered.latency.p90Ms,
  p99Ms: delivered.latency.p99Ms,
  maxMs: delivered.latency.maxMs,
  lateP99Ms: published.late.p99Ms,
  missing: expected - delivered.events,
  eventsPerSecond: published.events / published.seconds,
  deliveriesPerSecond: delivered.events / used.seconds,
  eventsPerMessage: delivered.messages === 0 ? 0 : delivered.events / delivered.messages,
  ...(used.commits === 0 ? {} : { eventsPerCommit: published.events / used.commits }),
  ...(used.server === undefined || delivered.events === 0
    ? {}
    : { serverCpuUs: used.server.cpuUs / delivered.events }),
  ...(memory === undefined
    ? {}
    : {
        rssGrowthMb: (memory.after.rss - memory.before.rss) / 2 ** 20,
        heapGrowthMb:
          (memory.after.heap + memory.after.external - memory.before.heap - memory.before.external) / 2 ** 20,
      }),
  ...used.figures,
});
