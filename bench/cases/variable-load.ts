/**
 * The load of the cases about variables: watchers that are live, a publisher that sets, and the wait until every watcher has
 * every variable at its last version. A run in which one has not, or misses a version, fails.
 */
import type { Bench, Used } from "../bench.ts";
import type { Published } from "../load/publisher.ts";
import type { Watched } from "../load/version-count.ts";
import type { SettledMemory } from "../measure/usage.ts";
import type { Figures } from "../report/figures.ts";
import type { Target } from "../targets.ts";
import { toSetFigures } from "./published.ts";

export interface VariableLoad {
  readonly workflows: number;
  /** Of each workflow. */
  readonly variables: number;
  /** Each message sets all of a workflow's by SetVariables, or the next one by SetVariable. */
  readonly each: "all" | "one";
  readonly payloadBytes: number;
  /** Watcher i watches workflow i modulo their number, all its variables. */
  readonly watchers: number;
  readonly conflatedMs?: number | undefined;
  /** Messages in flight, each followed by the next; or messages by a timetable. */
  readonly rate: { readonly inFlight: number } | { readonly perSecond: number };
  /** Length; absent: a measuring phase. */
  readonly seconds?: number;
  /** Also measures what the watchers cost while they wait. */
  readonly idle?: true;
}

/** How long after the last acknowledgement updates are waited for, ms. */
const drainMs = 20_000;
/** Come and go before idle ones are measured, so that what is loaded and compiled once is not counted. */
const warmUpWatchers = 100;
/** Of the warm-up, at most: see follow-load.ts. */
const warmUp = { deliveries: 20_000, updates: 10_000, inFlight: 8 };

export async function runVariableLoad(bench: Bench, target: Target, load: VariableLoad): Promise<Figures> {
  const publisher = await bench.spawn("publisher", target.address);
  const watcher = await bench.spawn("variable watcher", target.address);
  const { watchers, conflatedMs, variables, payloadBytes, idle } = load;
  const workflows = await target.workflows(load.workflows);
  const watch = (count: number) => watcher.call("watch", { workflows, watchers: count, conflatedMs });
  let memory: { readonly before: SettledMemory; readonly after: SettledMemory } | undefined;
  if (idle) {
    await watch(Math.min(watchers, warmUpWatchers));
    await watcher.call("leave");
    const before = await target.server.own("settledMemory");
    await watch(watchers);
    memory = { before, after: await target.server.own("settledMemory") };
  } else if (watchers > 0) await watch(watchers);

  const all = load.each === "all";
  const message = { workflows, variables, eventsPerMessage: all ? variables : 1, payloadBytes };
  const via = all ? "variables" : "variable";
  const sent: number[] = [];
  const publish = async (rate: VariableLoad["rate"], seconds: number): Promise<Published> => {
    const published = await ("inFlight" in rate
      ? publisher.call("closedLoop", { ...message, ...rate, via, seconds })
      : publisher.call("openLoop", { ...message, ...rate, via, seconds }));
    sent.push(published.sent ?? 0);
    return published;
  };
  const finish = () => watcher.call("finish", lastVersions(load, sent), drainMs);

  await publish(warmUpRate(load), bench.warmUpSeconds);
  await finish();
  await watcher.call("reset");
  const { result, used } = await bench.measure(target.server, [publisher, watcher], async () => {
    const published = await publish(load.rate, load.seconds ?? bench.seconds);
    return { published, watched: await finish() };
  });
  return {
    ...toSetFigures(result.published, used),
    ...(watchers > 0 && toWatchedFigures(result.watched, used)),
    ...(memory !== undefined && toIdleFigures(memory, watchers)),
  };
}

function warmUpRate({ rate, watchers, workflows, variables, each }: VariableLoad): VariableLoad["rate"] {
  if ("inFlight" in rate) return rate;
  const updates = each === "all" ? variables : 1;
  const deliveries = (updates * watchers) / workflows;
  if (deliveries === 0) return { inFlight: warmUp.inFlight };
  const perSecond = Math.min(warmUp.updates / updates, warmUp.deliveries / deliveries);
  return { perSecond: Math.max(rate.perSecond, perSecond) };
}

/** Message i of each run goes to workflow i, and one by one to the next variable after each round of them. */
function lastVersions({ workflows, variables, each }: VariableLoad, sent: readonly number[]): number[][] {
  const turns = each === "all" ? workflows : workflows * variables;
  const count = (turn: number) =>
    sent.reduce((sum, messages) => sum + Math.max(0, Math.ceil((messages - turn) / turns)), 0);
  return Array.from({ length: workflows }, (_, w) =>
    Array.from({ length: variables }, (_, n) => count(each === "all" ? w : n * workflows + w)),
  );
}

const toWatchedFigures = ({ updates, messages, replaced, latency }: Watched, used: Used): Figures => ({
  deliveriesPerSecond: updates / used.seconds,
  eventsPerMessage: messages === 0 ? 0 : updates / messages,
  replacedPercent: (replaced / Math.max(1, updates + replaced)) * 100,
  p50Ms: latency.p50Ms,
  p99Ms: latency.p99Ms,
  maxMs: latency.maxMs,
  ...(used.server === undefined || updates === 0
    ? {}
    : { serverCpuUsPerDelivery: used.server.cpuUs / updates }),
});

const toIdleFigures = (
  { before, after }: { readonly before: SettledMemory; readonly after: SettledMemory },
  watchers: number,
): Figures => ({
  rssKbPerReader: (after.rss - before.rss) / 1024 / watchers,
  heapKbPerReader: (after.heap + after.external - before.heap - before.external) / 1024 / watchers,
});
