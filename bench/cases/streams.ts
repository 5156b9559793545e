/**
 * Many streams at once, each with one reader: the same rate of events over ten streams or ten thousand must cost the same by
 * event, though each stream then has less to put into one commit, one page and one message.
 */
import { openTarget } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";
import { runFollowLoad, toFollowFigures } from "./follow-load.ts";
import { count } from "./published.ts";

export const streams: Case = {
  name: "streams",
  about:
    "roots with one reader each, events of 100 bytes to all in turn by one PublishTaskEvents call, open loop. Server CPU by published event, of which each reaches one reader",
  columns: [
    "eventsPerSecond",
    "p50Ms",
    "p99Ms",
    "missing",
    "serverCpuUsPerEvent",
    "serverCpuPercent",
    "databaseCpuPercent",
    "loadCpuPercent",
    "rssMb",
  ],
  ratios: [
    {
      of: "10,000 streams",
      to: "10 streams",
      figures: ["serverCpuUsPerEvent", "databaseCpuPercent", "p99Ms"],
    },
  ],
  contests(size) {
    const numbers = bySize(size, { full: [1, 10, 100, 10_000], quick: [10, 10_000], smoke: [2, 20] });
    const perSecond = bySize(size, { full: 1000, quick: 1000, smoke: 200 });
    return [
      {
        point: `${perSecond.toLocaleString("en-US")} events/s`,
        contenders: numbers.map((number) => contender(number, perSecond)),
      },
    ];
  },
};

const contender = (number: number, perSecond: number): Contender => ({
  name: count(number, "stream"),
  async run(bench) {
    const target = await openTarget(bench, "tributary");
    const load = { workflows: number, readers: number, perSecond, eventsPerMessage: 1, payloadBytes: 100 };
    return toFollowFigures(await runFollowLoad(bench, target, { ...load, via: "one call" }));
  },
});
