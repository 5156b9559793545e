/**
 * The load that several cases share: readers that are live, a publisher with a timetable, and the wait for what is still on
 * its way. Every delivery is counted, and its latency is from the planned send to the arrival.
 */
import type { Bench, Used } from "../bench.ts";
import type { Delivered } from "../load/delivery-count.ts";
import type { Published, Via } from "../load/publisher.ts";
import type { Scope } from "../load/subscription.ts";
import type { SettledMemory } from "../measure/usage.ts";
import type { Child } from "../processes/spawn.ts";
import type { Figures } from "../report/figures.ts";
import { instancesOf, type Target } from "../targets.ts";

export interface FollowLoad {
  /** Roots that are made, written in turn and read in turn; or which are. */
  readonly workflows: number | Followed;
  readonly readers: number;
  /** How they are read: each by a call of its own (the tree is the default), or all by one Multiplex with a label each. */
  readonly by?: Scope | "multiplex";
  /** Of a Multiplex, labels of the first workflows that may send nothing. */
  readonly withoutCredit?: number;
  /** Subscriptions that are never read, of the first workflow. */
  readonly stalled?: number;
  /** Messages. */
  readonly perSecond: number;
  readonly eventsPerMessage: number;
  readonly payloadBytes: number;
  readonly via: Via;
  /** Read from another instance than that to which is published. */
  readonly across?: true;
  /** Length, in measuring phases; 1 if absent. */
  readonly phases?: number;
  /** Also measures the server's memory after garbage collection, before and after, with all readers still there. */
  readonly settled?: true;
  /** Also measures what the readers cost while they wait: memory of the server before and after they came. */
  readonly idle?: true;
}

/** Workflows: message i goes to `written` i, reader i reads `read` i, each modulo their number. */
export interface Followed {
  readonly written: readonly string[];
  readonly read: readonly string[];
  /** Each reader gets what is written to any of them: they are below what it reads. */
  readonly below?: true;
}

export interface FollowResult {
  readonly published: Published;
  readonly delivered: Delivered;
  readonly expected: number;
  readonly memory: { readonly before: SettledMemory; readonly after: SettledMemory } | undefined;
  readonly used: Used;
  readonly idle: { readonly before: SettledMemory; readonly after: SettledMemory } | undefined;
  readonly readers: number;
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
      warmUp.deliveries / load.eventsPerMessage / Math.max(1, readersOfEach),
      warmUp.bytes / load.eventsPerMessage / load.payloadBytes,
    ),
  );

export interface RunningLoad {
  readonly reader: Child<"reader">;
  readonly publisher: Child<"publisher">;
}

/** `after` is called with the readers still there. */
export async function runFollowLoad(
  bench: Bench,
  target: Target,
  load: FollowLoad,
  after?: (running: RunningLoad) => Promise<void>,
): Promise<FollowResult> {
  const readFrom = load.across ? target.others[0] : target;
  if (readFrom === undefined) throw new Error("there is no other instance to read from");
  const reader = await bench.spawn("reader", { ...readFrom.address, feed: target.feed });
  const { written, read, below } = await toFollowed(target, load.workflows);
  const idle = await openReaders(target, reader, read, load);
  // Last: a server ends connections that make no call for a minute, which ten thousand readers may take to come.
  const publisher = await bench.spawn("publisher", target.address);
  for (let i = 0; i < (load.stalled ?? 0); i += 1) await reader.call("stall", read[0] ?? "");
  const deliveries = below
    ? (messages: number) => messages * load.readers * load.eventsPerMessage
    : deliveriesOf(load, written, read);
  const readersOfEach = deliveries(written.length) / written.length / load.eventsPerMessage;

  const perSecond = warmUpRate(load, readersOfEach);
  const warm = await publisher.call("openLoop", {
    ...load,
    workflows: written,
    perSecond,
    seconds: bench.warmUpSeconds,
  });
  await reader.call("finish", deliveries(warm.messages), drainMs);
  const settle = () => (load.settled ? target.server.own("settledMemory") : undefined);
  const before = await settle();
  await reader.call("reset");
  const servers = instancesOf(target).map((instance) => instance.server);
  const { result, used } = await bench.measure(servers, [reader, publisher], async () => {
    const published = await publisher.call("openLoop", {
      ...load,
      workflows: written,
      seconds: bench.seconds * (load.phases ?? 1),
    });
    const delivered = await reader.call("finish", deliveries(published.messages), drainMs);
    return { published, delivered };
  });
  const settled = await settle();
  const memory = before === undefined || settled === undefined ? undefined : { before, after: settled };
  await after?.({ reader, publisher });
  const expected = deliveries(result.published.messages);
  return { ...result, expected, memory, used, idle, readers: load.readers };
}

async function toFollowed(target: Target, workflows: FollowLoad["workflows"]): Promise<Followed> {
  if (typeof workflows !== "number") return workflows;
  const made = await target.workflows(workflows);
  return { written: made, read: made };
}

/** Come and go before idle ones are measured, so that what is loaded and compiled once is not counted. */
const warmUpReaders = 100;

async function openReaders(
  target: Target,
  reader: Child<"reader">,
  workflows: readonly string[],
  { readers, by = "tree", withoutCredit = 0, idle }: FollowLoad,
): Promise<FollowResult["idle"]> {
  const open = (count: number) =>
    by === "multiplex"
      ? reader.call("multiplex", workflows.slice(0, count), Math.min(count, withoutCredit))
      : reader.call("subscribe", workflows, count, by);
  if (idle === undefined) {
    await open(readers);
    return undefined;
  }
  await open(Math.min(readers, warmUpReaders));
  await reader.call("leave");
  const before = await target.server.own("settledMemory");
  await open(readers);
  return { before, after: await target.server.own("settledMemory") };
}

/** How many deliveries so many messages make. */
function deliveriesOf(
  { readers, withoutCredit = 0, eventsPerMessage }: FollowLoad,
  written: readonly string[],
  read: readonly string[],
): (messages: number) => number {
  const readersOf = new Map<string, number>();
  for (let i = withoutCredit; i < readers; i += 1) {
    const id = read[i % read.length] ?? "";
    readersOf.set(id, (readersOf.get(id) ?? 0) + 1);
  }
  return (messages) => {
    const of = (id: string, i: number) =>
      Math.max(0, Math.ceil((messages - i) / written.length)) * (readersOf.get(id) ?? 0);
    return written.reduce((sum, id, i) => sum + of(id, i), 0) * eventsPerMessage;
  };
}

const kbEach = (bytes: number, of: number) => bytes / 1024 / of;

export const toFollowFigures = ({
  published,
  delivered,
  expected,
  memory,
  used,
  idle,
  readers,
}: FollowResult): Figures => ({
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
  ...(used.server === undefined ? {} : { serverCpuUsPerEvent: used.server.cpuUs / published.events }),
  ...(idle === undefined
    ? {}
    : {
        rssKbPerReader: kbEach(idle.after.rss - idle.before.rss, readers),
        heapKbPerReader: kbEach(
          idle.after.heap + idle.after.external - idle.before.heap - idle.before.external,
          readers,
        ),
      }),
  ...(memory === undefined
    ? {}
    : {
        rssGrowthMb: (memory.after.rss - memory.before.rss) / 2 ** 20,
        heapGrowthMb:
          (memory.after.heap + memory.after.external - memory.before.heap - memory.before.external) / 2 ** 20,
      }),
  ...used.figures,
});
