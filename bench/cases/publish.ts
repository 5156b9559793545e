/**
 * How much is acknowledged as durable, and how soon. Tributary stores in Postgres with fsync; stock connect-node takes the
 * same messages and stores nothing; the SQL contenders commit groups of the size that the appender reaches at full load.
 */
import type { Bench, Used } from "../bench.ts";
import type { Published } from "../load/publisher.ts";
import type { Figures } from "../report/figures.ts";
import { openTarget, type TargetName } from "../targets.ts";
import { bySize, type Case, type Contender, type Contest } from "./case.ts";

const payloadBytes = 100;
/** Calls that the closed loop keeps open: enough to keep the commit connections busy. */
const inFlight = 32;
/** The server's default. */
const commitConnections = 4;
/** What one group commit takes at most. */
const mostInGroup = 1000;

type Target = Extract<TargetName, "tributary" | "stock connect-node">;

export const publish: Case = {
  name: "publish",
  about:
    "PublishTaskEvents, each message a call of its own; events of 100 bytes; acknowledged after the commit (stock connect-node: at once, stored nowhere)",
  columns: [
    "eventsPerSecond",
    "ackP50Ms",
    "ackP99Ms",
    "eventsPerCommit",
    "serverCpuUs",
    "serverCpuPercent",
    "databaseCpuPercent",
    "loadCpuPercent",
  ],
  contests(size) {
    const closed = bySize<readonly (readonly [events: number, streams: number])[]>(size, {
      full: [
        [1, 1],
        [1, 8],
        [1, 50],
        [10, 1],
        [10, 8],
        [10, 50],
        [100, 1],
        [100, 8],
        [100, 50],
      ],
      quick: [
        [1, 8],
        [10, 8],
        [100, 8],
        [100, 50],
      ],
      smoke: [
        [10, 8],
        [100, 5],
      ],
    });
    const open = bySize(size, { full: [200, 1000], quick: [500], smoke: [50] });
    return [...closed.map(([events, streams]) => closedContest(events, streams)), ...open.map(openContest)];
  },
};

function closedContest(eventsPerMessage: number, streams: number): Contest {
  const group = Math.min(mostInGroup, (inFlight * eventsPerMessage) / Math.min(commitConnections, streams));
  return {
    point: `${count(eventsPerMessage, "event")} a message, ${count(streams, "stream")}, ${inFlight} in flight`,
    contenders: [
      closedTarget("tributary", eventsPerMessage, streams),
      // To stock connect-node streams are nothing; the SQL contenders show their range at the ends.
      ...(streams === 8 ? [closedTarget("stock connect-node", eventsPerMessage, streams)] : []),
      ...(streams === 8 || eventsPerMessage === 10
        ? []
        : [bare("bare append", streams, group), bare("bare insert", streams, group)]),
    ],
  };
}

function closedTarget(name: Target, eventsPerMessage: number, streams: number): Contender {
  return {
    name,
    async run(bench) {
      const target = await openTarget(bench, name);
      const publisher = await bench.spawn("publisher", target.address);
      const workflows = await target.workflows(streams);
      const load = { workflows, eventsPerMessage, payloadBytes, inFlight };
      await publisher.call("closedLoop", { ...load, seconds: bench.warmUpSeconds });
      const { result, used } = await bench.measure(target.server, [publisher], () =>
        publisher.call("closedLoop", { ...load, seconds: bench.seconds }),
      );
      return toFigures(result, used);
    },
  };
}

function bare(role: "bare append" | "bare insert", streams: number, group: number): Contender {
  return {
    name: `${role}, groups of ${group}`,
    async run(bench: Bench) {
      const url = await bench.database();
      const options = { url, connections: commitConnections, streams, group, payloadBytes };
      const script = await bench.spawn(role, options);
      await script.call("closedLoop", bench.warmUpSeconds);
      const { result, used } = await bench.measure(undefined, [script], () =>
        script.call("closedLoop", bench.seconds),
      );
      return toFigures(result, used);
    },
  };
}

function openContest(perSecond: number): Contest {
  const contender = (name: Target): Contender => ({
    name,
    async run(bench) {
      const target = await openTarget(bench, name);
      const publisher = await bench.spawn("publisher", target.address);
      const workflows = await target.workflows(8);
      const load = { workflows, eventsPerMessage: 1, payloadBytes, perSecond, via: "call each" } as const;
      // Not by the timetable: see follow-load.ts.
      await publisher.call("closedLoop", { ...load, inFlight: 8, seconds: bench.warmUpSeconds });
      const { result, used } = await bench.measure(target.server, [publisher], () =>
        publisher.call("openLoop", { ...load, seconds: bench.seconds }),
      );
      return toFigures(result, used);
    },
  });
  return {
    point: `1 event a message, 8 streams, open loop at ${perSecond}/s`,
    contenders: [contender("tributary"), contender("stock connect-node")],
  };
}

const toFigures = ({ events, messages, seconds, ack, late }: Published, used: Used): Figures => ({
  eventsPerSecond: events / seconds,
  messagesPerSecond: messages / seconds,
  ackP50Ms: ack.p50Ms,
  ackP99Ms: ack.p99Ms,
  ...(late.count === 0 ? {} : { lateP99Ms: late.p99Ms }),
  ...(used.commits === 0 ? {} : { eventsPerCommit: events / used.commits }),
  ...(used.server === undefined || events === 0 ? {} : { serverCpuUs: used.server.cpuUs / events }),
  ...used.figures,
});

const count = (n: number, what: string) => `${n} ${what}${n === 1 ? "" : "s"}`;
