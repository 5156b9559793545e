/** Many watchers of one workflow's variables: how late a change is, what each costs, and that all end at the last version. */
import { openTarget, type TargetName } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";
import { count } from "./published.ts";
import { runVariableLoad } from "./variable-load.ts";

/** Fewer than the updates of an interval, so that there is something to conflate. */
const variables = 4;
const conflatedMs = 250;

type Name = Extract<TargetName, "tributary" | "stock connect-node">;

export const watchers: Case = {
  name: "watchers",
  about: `WatchVariables of one workflow with ${variables} variables of 100 bytes, one SetVariable after the other, open loop; each watcher must have every version, and end at the last. Conflated: at most a message each ${conflatedMs} ms, with the newest of each variable, so latency is mostly that wait`,
  columns: [
    "p50Ms",
    "p99Ms",
    "deliveriesPerSecond",
    "eventsPerMessage",
    "replacedPercent",
    "serverCpuUsPerDelivery",
    "serverCpuPercent",
    "loadCpuPercent",
    "rssKbPerReader",
    "heapKbPerReader",
  ],
  oneRoundIsEnough: true,
  contests(size) {
    const readers = bySize(size, { full: [1000], quick: [1000], smoke: [20] });
    const load = bySize(size, {
      full: { updates: 1000, perSecond: 50 },
      quick: { updates: 100, perSecond: 50 },
      smoke: { updates: 20, perSecond: 50 },
    });
    return readers.map((each) => ({
      point: `${count(each, "watcher")}, ${count(load.updates, "update")} at ${load.perSecond}/s`,
      contenders: [
        contender("tributary", each, load, undefined),
        contender("tributary", each, load, conflatedMs),
        contender("stock connect-node", each, load, undefined),
      ],
    }));
  },
};

function contender(
  name: Name,
  each: number,
  { updates, perSecond }: { readonly updates: number; readonly perSecond: number },
  conflated: number | undefined,
): Contender {
  return {
    name: conflated === undefined ? name : `${name}, conflated`,
    async run(bench) {
      return runVariableLoad(bench, await openTarget(bench, name), {
        workflows: 1,
        variables,
        each: "one",
        payloadBytes: 100,
        watchers: each,
        conflatedMs: conflated,
        rate: { perSecond },
        seconds: updates / perSecond,
        idle: true,
      });
    },
  };
}
