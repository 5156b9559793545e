/**
 * One instance against several over the same Postgres: what NATS costs, what reading at another instance than was published
 * to costs, and what the database lets through when several write. On a machine with few cores several instances share
 * what one had: the figures show the price of growing, not the gain.
 */
import type { Published } from "../load/publisher.ts";
import { instancesOf, openTarget } from "../targets.ts";
import { bySize, type Case, type Contender, type Contest } from "./case.ts";
import { runFollowLoad, toFollowFigures } from "./follow-load.ts";
import { toPublishedFigures } from "./published.ts";

const payloadBytes = 100;
/** Roots with one reader each. */
const workflows = 10;
/** Of all publishers together. */
const inFlight = 33;
const streams = 24;

export const instances: Case = {
  name: "instances",
  about: `one instance and three, over one Postgres, with the bus in memory or NATS. Latency: ${workflows} roots with one reader each, events of 100 bytes by one PublishTaskEvents call, open loop; “across”: published to one instance, read from another. Throughput: ${streams} streams, 100 events a message, ${inFlight} in flight, spread over the instances; acks are those of the slowest instance. Server CPU and RSS are of all instances together`,
  columns: [
    "eventsPerSecond",
    "p50Ms",
    "p99Ms",
    "missing",
    "ackP50Ms",
    "ackP99Ms",
    "eventsPerCommit",
    "serverCpuUsPerEvent",
    "serverCpuPercent",
    "databaseCpuPercent",
    "loadCpuPercent",
    "rssMb",
  ],
  ratios: [
    { of: "three, across", to: "one, in memory", figures: ["p50Ms", "p99Ms", "serverCpuUsPerEvent"] },
    { of: "one, NATS", to: "one, in memory", figures: ["p50Ms", "eventsPerSecond", "serverCpuUsPerEvent"] },
    { of: "three, NATS", to: "one, in memory", figures: ["eventsPerSecond", "serverCpuUsPerEvent"] },
  ],
  contests(size) {
    const rates = bySize(size, { full: [1000, 5000], quick: [1000], smoke: [100] });
    return [...rates.map(latencyContest), throughputContest()];
  },
};

const latencyContest = (perSecond: number): Contest => {
  const load = {
    workflows,
    readers: workflows,
    perSecond,
    eventsPerMessage: 1,
    payloadBytes,
    via: "one call",
  } as const;
  const contender = (name: string, overNats?: number, across?: true): Contender => ({
    name,
    async run(bench) {
      const target = await openTarget(bench, "tributary", { overNats });
      return toFollowFigures(await runFollowLoad(bench, target, across ? { ...load, across } : load));
    },
  });
  return {
    point: `${perSecond.toLocaleString("en-US")} events/s`,
    contenders: [
      contender("one, in memory"),
      contender("one, NATS", 1),
      contender("three, NATS", 3),
      contender("three, across", 3, true),
    ],
  };
};

const throughputContest = (): Contest => ({
  point: "as many as there go",
  contenders: [publishing("one, in memory"), publishing("one, NATS", 1), publishing("three, NATS", 3)],
});

const publishing = (name: string, overNats?: number): Contender => ({
  name,
  async run(bench) {
    const target = await openTarget(bench, "tributary", { overNats });
    const all = instancesOf(target);
    const ids = await target.workflows(streams);
    const publishers = await Promise.all(all.map(({ address }) => bench.spawn("publisher", address)));
    const publish = (seconds: number) =>
      Promise.all(
        publishers.map((publisher, i) =>
          publisher.call("closedLoop", {
            workflows: ids.filter((_, n) => n % publishers.length === i),
            eventsPerMessage: 100,
            payloadBytes,
            inFlight: inFlight / publishers.length,
            seconds,
          }),
        ),
      );
    await publish(bench.warmUpSeconds);
    const servers = all.map(({ server }) => server);
    const { result, used } = await bench.measure(servers, publishers, () => publish(bench.seconds));
    const figures = toPublishedFigures(together(result), used);
    return {
      ...figures,
      ...(figures.serverCpuUs === undefined ? {} : { serverCpuUsPerEvent: figures.serverCpuUs }),
    };
  },
});

/** What all published; the latencies are those of the slowest. */
function together(published: readonly Published[]): Published {
  const slowest = published.toSorted((a, b) => b.ack.p99Ms - a.ack.p99Ms)[0];
  if (slowest === undefined) throw new Error("nobody published");
  return {
    ...slowest,
    events: published.reduce((sum, { events }) => sum + events, 0),
    messages: published.reduce((sum, { messages }) => sum + messages, 0),
  };
}
