/**
 * A reader that has stopped reading, beside one that reads: what it costs the server in memory, and the other one in
 * latency. About 5 MB/s, so that the stalled one falls out of every buffer.
 */
import { openTarget, type TargetName } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";
import { runFollowLoad, toFollowFigures } from "./follow-load.ts";

const names = ["tributary", "stock connect-node"] as const;

const nameOf = (name: TargetName, stalled: number) =>
  `${name}, ${stalled === 0 ? "alone" : "beside a stalled one"}`;

export const slowReader: Case = {
  name: "slow reader",
  about:
    "one tree, one reader that reads, without and with another one that does not; events of 1,000 bytes, open loop",
  columns: [
    "p50Ms",
    "p99Ms",
    "maxMs",
    "missing",
    "heapGrowthMb",
    "rssGrowthMb",
    "rssMb",
    "serverCpuPercent",
    "loadCpuPercent",
  ],
  ratios: names.map((name) => ({
    of: nameOf(name, 1),
    to: nameOf(name, 0),
    figures: ["p50Ms", "p99Ms"],
  })),
  contests: (size) => {
    const perSecond = bySize(size, { full: 100, quick: 100, smoke: 20 });
    return [
      {
        point: `${perSecond} messages/s of 50 events`,
        contenders: names.flatMap((name) => [0, 1].map((stalled) => contender(name, perSecond, stalled))),
      },
    ];
  },
};

function contender(name: TargetName, perSecond: number, stalled: number): Contender {
  return {
    name: nameOf(name, stalled),
    async run(bench) {
      const target = await openTarget(bench, name);
      const load = { workflows: 1, readers: 1, stalled, perSecond, eventsPerMessage: 50, payloadBytes: 1000 };
      const longer = { phases: 3, settled: true } as const;
      return toFollowFigures(await runFollowLoad(bench, target, { ...load, ...longer, via: "call each" }));
    },
  };
}
