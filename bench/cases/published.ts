/** What the cases that publish share: their figures, and the SQL scripts they are compared with. */
import type { Bench, Used } from "../bench.ts";
import type { Published } from "../load/publisher.ts";
import type { Figures } from "../report/figures.ts";
import type { Contender } from "./case.ts";

/** The server's default. */
const commitConnections = 4;
/** What one group commit takes at most. */
const mostInGroup = 1000;

/** Commits groups of the size that the appender reaches when so many events wait. `variables`: of one command. */
export function bareContender(
  role: "bare append" | "bare insert" | "bare variables",
  streams: number,
  waiting: number,
  payloadBytes: number,
  variables = 1,
): Contender {
  const group = Math.min(mostInGroup, waiting / Math.min(commitConnections, streams));
  return {
    name: `${role}, groups of ${group}`,
    async run(bench: Bench) {
      const url = await bench.database();
      const options = { url, connections: commitConnections, streams, group, payloadBytes, variables };
      const script = await bench.spawn(role, options);
      await script.call("closedLoop", bench.warmUpSeconds);
      const { result, used } = await bench.measure(undefined, [script], () =>
        script.call("closedLoop", bench.seconds),
      );
      return role === "bare variables" ? toSetFigures(result, used) : toPublishedFigures(result, used);
    },
  };
}

export const toPublishedFigures = (
  { events, messages, seconds, ack, late }: Published,
  used: Used,
): Figures => ({
  eventsPerSecond: events / seconds,
  messagesPerSecond: messages / seconds,
  ackP50Ms: ack.p50Ms,
  ackP99Ms: ack.p99Ms,
  ...(late.count === 0 ? {} : { lateP99Ms: late.p99Ms }),
  ...(used.commits === 0 ? {} : { eventsPerCommit: events / used.commits }),
  ...(used.server === undefined || events === 0 ? {} : { serverCpuUs: used.server.cpuUs / events }),
  ...used.figures,
});

/** The same of variables. */
export function toSetFigures(published: Published, used: Used): Figures {
  const { eventsPerSecond = 0, ...others } = toPublishedFigures(published, used);
  return { updatesPerSecond: eventsPerSecond, ...others };
}

export const count = (n: number, what: string) => `${n.toLocaleString("en-US")} ${what}${n === 1 ? "" : "s"}`;
