/** One tree, many readers: what a delivery costs, and how late it is. */
import { openTarget, type TargetName } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";
import { runFollowLoad, toFollowFigures } from "./follow-load.ts";

const all = ["tributary", "stock connect-node", "raw http2"] as const;

export const fanOut: Case = {
  name: "fan-out",
  about: "readers of one tree, events of 100 bytes, open loop; each reader gets each event",
  columns: [
    "deliveriesPerSecond",
    "p50Ms",
    "p99Ms",
    "missing",
    "serverCpuUs",
    "serverCpuPercent",
    "eventsPerMessage",
    "loadCpuPercent",
  ],
  contests(size) {
    const readers = bySize(size, { full: [1, 100, 1000], quick: [100, 1000], smoke: [20] });
    const rates = bySize(size, { full: [10, 50], quick: [50], smoke: [20] });
    // The baselines where it is hardest: at lower rates they differ as they do there.
    const highest = Math.max(...rates);
    return readers.flatMap((count) =>
      rates.map((perSecond) => ({
        point: `${count} reader${count === 1 ? "" : "s"}, ${perSecond} events/s`,
        contenders: (perSecond === highest ? all : all.slice(0, 1)).map((name) =>
          contender(name, count, perSecond),
        ),
      })),
    );
  },
};

function contender(name: TargetName, readers: number, perSecond: number): Contender {
  return {
    name,
    async run(bench) {
      const target = await openTarget(bench, name);
      const load = { workflows: 1, readers, perSecond, eventsPerMessage: 1, payloadBytes: 100 };
      return toFollowFigures(await runFollowLoad(bench, target, { ...load, via: "call each" }));
    },
  };
}
