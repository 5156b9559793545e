/** One Multiplex with many labels, against as many StreamWorkflow calls over the same one connection. */
import { openTarget } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";
import { type FollowLoad, runFollowLoad, toFollowFigures } from "./follow-load.ts";

const names = {
  calls: "StreamWorkflow each",
  multiplex: "one Multiplex",
  held: "one Multiplex, a label without credit",
} as const;

export const multiplex: Case = {
  name: "multiplex",
  about:
    "one client follows many workflows over one connection; events of 100 bytes, round the workflows, by one PublishTaskEvents call, open loop. Memory of the server for each that is followed while nothing comes, after garbage collection",
  columns: [
    "deliveriesPerSecond",
    "p50Ms",
    "p99Ms",
    "maxMs",
    "missing",
    "serverCpuUs",
    "serverCpuPercent",
    "eventsPerMessage",
    "loadCpuPercent",
    "rssKbPerReader",
    "heapKbPerReader",
  ],
  ratios: [{ of: names.multiplex, to: names.calls, figures: ["p99Ms", "serverCpuUs", "heapKbPerReader"] }],
  contests(size) {
    const readers = bySize(size, { full: 500, quick: 500, smoke: 20 });
    const rates = bySize(size, { full: [1000, 5000], quick: [1000], smoke: [200] });
    return rates.map((perSecond) => {
      const load = { workflows: readers, readers, perSecond, eventsPerMessage: 1, payloadBytes: 100 };
      return {
        point: `${readers} workflows, ${perSecond.toLocaleString("en-US")} events/s`,
        contenders: [
          contender(names.calls, { ...load, by: "workflow", via: "one call", idle: true }),
          contender(names.multiplex, { ...load, by: "multiplex", via: "one call", idle: true }),
          contender(names.held, {
            ...load,
            by: "multiplex",
            withoutCredit: 1,
            via: "one call",
            idle: true,
          }),
        ],
      };
    });
  },
};

const contender = (name: string, load: FollowLoad): Contender => ({
  name,
  async run(bench) {
    const target = await openTarget(bench, "tributary");
    return toFollowFigures(await runFollowLoad(bench, target, load));
  },
});
