/**
 * How many changes of variables are acknowledged as stored, and how soon, without and with watchers, who must see every
 * version. Stock connect-node keeps them in memory; the SQL contender commits groups of the size that full load makes.
 */
import { openTarget, type TargetName } from "../targets.ts";
import { bySize, type Case, type Contender, type Contest } from "./case.ts";
import { bareContender, count } from "./published.ts";
import { runVariableLoad, type VariableLoad } from "./variable-load.ts";

const payloadBytes = 100;
const workflows = 10;

type Name = Extract<TargetName, "tributary" | "stock connect-node">;

export const variables: Case = {
  name: "variables",
  about: `SetVariables and SetVariable over ${workflows} workflows, texts of 100 bytes; acknowledged after the commit (stock connect-node: at once, stored nowhere). Watchers follow a workflow each and must have every version; p50 and p99 are theirs`,
  columns: [
    "updatesPerSecond",
    "ackP50Ms",
    "ackP99Ms",
    "p50Ms",
    "p99Ms",
    "lateP99Ms",
    "eventsPerCommit",
    "serverCpuUs",
    "serverCpuPercent",
    "databaseCpuPercent",
    "loadCpuPercent",
  ],
  contests(size) {
    const batch = bySize(size, { full: 100, quick: 100, smoke: 10 });
    const inFlight = bySize(size, { full: 32, quick: 32, smoke: 4 });
    const perSecond = bySize(size, { full: 10_000, quick: 10_000, smoke: 500 });
    const ones = bySize(size, { full: [32, 256], quick: [256], smoke: [16] });
    const both = [0, workflows];
    const closed = bySize(size, { full: both, quick: both, smoke: [0] });
    const open = bySize(size, { full: both, quick: both, smoke: [workflows] });
    const many = { each: "all", variables: batch } as const;
    const one = { each: "one", variables: batch } as const;
    return [
      ...closed.map((watchers) =>
        contest(`SetVariables of ${batch}, ${inFlight} in flight`, {
          ...many,
          watchers,
          rate: { inFlight },
        }),
      ),
      ...open.map((watchers) =>
        contest(`SetVariables of ${batch}, ${perSecond.toLocaleString("en-US")} updates/s, open loop`, {
          ...many,
          watchers,
          rate: { perSecond: perSecond / batch },
        }),
      ),
      ...ones.map((waiting) =>
        contest(`SetVariable, ${waiting} in flight`, { ...one, watchers: 0, rate: { inFlight: waiting } }),
      ),
    ];
  },
};

type Load = Pick<VariableLoad, "each" | "variables" | "watchers" | "rate">;

function contest(point: string, load: Load): Contest {
  const { rate } = load;
  const inBatch = load.each === "all" ? load.variables : 1;
  const bare =
    "inFlight" in rate && load.watchers === 0
      ? [bareContender("bare variables", workflows, rate.inFlight * inBatch, payloadBytes, inBatch)]
      : [];
  return {
    point: load.each === "one" ? point : `${point}, ${count(load.watchers, "watcher")}`,
    contenders: [contender("tributary", load), contender("stock connect-node", load), ...bare],
  };
}

const contender = (name: Name, load: Load): Contender => ({
  name,
  async run(bench) {
    return runVariableLoad(bench, await openTarget(bench, name), { ...load, workflows, payloadBytes });
  },
});
