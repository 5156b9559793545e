/**
 * From the moment when a token should leave the worker to its arrival at a reader, at fixed rates. Tributary shows nothing
 * to readers that is not committed; the baseline passes it on in memory.
 */
import type { Via } from "../load/publisher.ts";
import { openTarget } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";
import { runFollowLoad, toFollowFigures } from "./follow-load.ts";

/** Workflows with one reader each. */
const workflows = 10;

const viaNames: Readonly<Record<Extract<Via, "task data" | "one call">, string>> = {
  "task data": "StreamTaskData each",
  "one call": "one PublishTaskEvents call",
};

export const latency: Case = {
  name: "latency",
  about: `publish → reader, ${workflows} workflows with one reader each, events of 100 bytes, each in a message of its own, open loop`,
  columns: [
    "eventsPerSecond",
    "p50Ms",
    "p90Ms",
    "p99Ms",
    "maxMs",
    "missing",
    "lateP99Ms",
    "serverCpuPercent",
    "databaseCpuPercent",
    "loadCpuPercent",
  ],
  contests: (size) =>
    bySize(size, { full: [100, 1000, 5000], quick: [1000, 5000], smoke: [100] }).map((perSecond) => ({
      point: `${perSecond} events/s`,
      contenders: (["task data", "one call"] as const).flatMap((via) => [
        contender("tributary", perSecond, via),
        contender("stock connect-node", perSecond, via),
      ]),
    })),
};

function contender(
  name: "tributary" | "stock connect-node",
  perSecond: number,
  via: keyof typeof viaNames,
): Contender {
  return {
    name: `${name}, ${viaNames[via]}`,
    async run(bench) {
      const target = await openTarget(bench, name);
      const load = { workflows, readers: workflows, perSecond, eventsPerMessage: 1, payloadBytes: 100, via };
      return toFollowFigures(await runFollowLoad(bench, target, load));
    },
  };
}
