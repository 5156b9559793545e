/**
 * How much is acknowledged as durable, and how soon. Tributary stores in Postgres with fsync; stock connect-node takes the
 * same messages and stores nothing; the SQL contenders commit groups of the size that the appender reaches at full load; Redis Streams are what else is used as a log.
 */
import { processCpuUs } from "../measure/database-cpu.ts";
import { missingRedis } from "../needs.ts";
import { openTarget, type TargetName } from "../targets.ts";
import { bySize, type Case, type Contender, type Contest } from "./case.ts";
import { bareContender, count, toPublishedFigures } from "./published.ts";

const payloadBytes = 100;
/** Calls that the closed loop keeps open: enough to keep the commit connections busy. */
const inFlight = 32;

type Target = Extract<TargetName, "tributary" | "stock connect-node">;

export const publish: Case = {
  name: "publish",
  about:
    "PublishTaskEvents, each message a call of its own; events of 100 bytes; acknowledged after the commit (stock connect-node: at once, stored nowhere; Redis Streams: after an fsync, server CPU is redis-server's)",
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
  const bare = (role: "bare append" | "bare insert") =>
    bareContender(role, streams, inFlight * eventsPerMessage, payloadBytes);
  return {
    point: `${count(eventsPerMessage, "event")} a message, ${count(streams, "stream")}, ${inFlight} in flight`,
    contenders: [
      closedTarget("tributary", eventsPerMessage, streams),
      // To stock connect-node streams are nothing; the SQL contenders show their range at the ends.
      ...(streams === 8 ? [closedTarget("stock connect-node", eventsPerMessage, streams)] : []),
      ...(streams === 8 || eventsPerMessage === 10 ? [] : [bare("bare append"), bare("bare insert")]),
      ...(eventsPerMessage === 100 ? [redisStreams(streams)] : []),
    ],
  };
}

/** Code is compiled by being used, and large messages make few calls a second: see follow-load.ts. */
const longer = (eventsPerMessage: number): number => (eventsPerMessage >= 100 ? 4 : 1);

function closedTarget(name: Target, eventsPerMessage: number, streams: number): Contender {
  return {
    name,
    async run(bench) {
      const target = await openTarget(bench, name);
      const publisher = await bench.spawn("publisher", target.address);
      const workflows = await target.workflows(streams);
      const load = { workflows, eventsPerMessage, payloadBytes, inFlight };
      await publisher.call("closedLoop", {
        ...load,
        seconds: bench.warmUpSeconds * longer(eventsPerMessage),
      });
      const { result, used } = await bench.measure(target.server, [publisher], () =>
        publisher.call("closedLoop", { ...load, seconds: bench.seconds }),
      );
      return toPublishedFigures(result, used);
    },
  };
}

/** The same messages as pipelines of XADD, as many in flight, over as many connections; stored on disk before each answer. */
function redisStreams(streams: number): Contender {
  const load = { streams, eventsPerMessage: 100, payloadBytes, inFlight };
  return {
    name: "Redis Streams, appendfsync always",
    missing: missingRedis,
    async run(bench) {
      const server = await bench.spawn("redis server", undefined);
      const { port, pid } = await server.call("address");
      const publisher = await bench.spawn("redis publisher", { port });
      await publisher.call("closedLoop", { ...load, seconds: bench.warmUpSeconds });
      const before = await processCpuUs(pid);
      const { result, used } = await bench.measure(undefined, [publisher], () =>
        publisher.call("closedLoop", { ...load, seconds: bench.seconds }),
      );
      const after = await processCpuUs(pid);
      if (before === undefined || after === undefined) return toPublishedFigures(result, used);
      return {
        ...toPublishedFigures(result, used),
        serverCpuUs: (after - before) / result.events,
        serverCpuPercent: ((after - before) / used.seconds / 1e6) * 100,
      };
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
      return toPublishedFigures(result, used);
    },
  });
  return {
    point: `1 event a message, 8 streams, open loop at ${perSecond}/s`,
    contenders: [contender("tributary"), contender("stock connect-node")],
  };
}
