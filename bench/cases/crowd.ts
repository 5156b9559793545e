/**
 * Many readers join a long stream at once while others follow it live: how soon the crowd has all, and what the others feel. The
 * publisher goes on by its timetable until the crowd is through.
 */
import type { Bench } from "../bench.ts";
import type { Figures } from "../report/figures.ts";
import { openTarget, type TargetName } from "../targets.ts";
import { bySize, type Case, type Contender } from "./case.ts";
import { count } from "./published.ts";

const payloadBytes = 100;
/** Entries of a page, and so of a message, when a reader is far behind. */
const batch = 1000;
const perSecond = 50;
const warmUpPerSecond = 200;
/** Longest time until the crowd is through, ms. */
const limitMs = 90_000;
/** How long after the last event live readers are waited for, ms. */
const drainMs = 10_000;

interface Crowd {
  readonly stored: number;
  readonly joining: number;
  readonly live: number;
}

export const crowd: Case = {
  name: "crowd",
  about: `readers join a stored stream of events of 100 bytes at its beginning while others get ${perSecond} events/s live; “before” without the crowd, p50 to max until it has caught up`,
  columns: [
    "beforeP99Ms",
    "p50Ms",
    "p99Ms",
    "maxMs",
    "missing",
    "readMs",
    "eventsPerSecond",
    "serverCpuUs",
    "serverCpuPercent",
    "databaseCpuPercent",
    "loadCpuPercent",
    "rssMb",
  ],
  contests(size) {
    const all = bySize<Crowd>(size, {
      full: { stored: 100_000, joining: 50, live: 1000 },
      quick: { stored: 100_000, joining: 50, live: 100 },
      smoke: { stored: 3000, joining: 3, live: 5 },
    });
    return [
      {
        point: `${all.joining} join ${count(all.stored, "event")}, ${count(all.live, "live reader")}`,
        contenders: (["tributary", "stock connect-node", "raw http2"] as const).map((name) =>
          contender(name, all),
        ),
      },
    ];
  },
};

const contender = (name: TargetName, all: Crowd): Contender => ({
  name,
  run: (bench) => run(bench, name, all),
});

async function run(
  bench: Bench,
  name: TargetName,
  { stored: events, joining, live }: Crowd,
): Promise<Figures> {
  const stored = await bench.stored(events, payloadBytes);
  const target = await openTarget(bench, name, {
    databaseUrl: name === "tributary" ? await bench.database(stored.template) : undefined,
    history: { workflowId: stored.workflowId, events: stored.events, batch, payloadBytes },
  });
  const publisher = await bench.spawn("publisher", target.address);
  const readers = await bench.spawn("reader", target.address);
  const newcomers = await bench.spawn("reader", target.address);
  await readers.call("subscribe", [stored.workflowId], live);
  const load = {
    workflows: [stored.workflowId],
    eventsPerMessage: 1,
    payloadBytes,
    via: "call each",
  } as const;

  /** Live events until `done`, at least for one measuring phase; and what became of them. */
  const follow = async (seconds: number, rate: number, done: () => boolean) => {
    await readers.call("reset");
    let messages = 0;
    do {
      messages += (await publisher.call("openLoop", { ...load, seconds, perSecond: rate })).messages;
    } while (!done());
    const expected = messages * live;
    const { events, latency } = await readers.call("finish", expected, drainMs);
    return { latency, missing: expected - events };
  };

  await follow(bench.warmUpSeconds, warmUpPerSecond, () => true);
  const before = await follow(bench.seconds, perSecond, () => true);
  const { result, used } = await bench.measure(target.server, [publisher, readers, newcomers], async () => {
    let through = false;
    const joined = newcomers.call("crowd", stored.workflowId, joining, stored.events, limitMs).finally(() => {
      through = true;
    });
    const [during, crowd] = await Promise.all([
      follow(Math.min(0.5, bench.seconds), perSecond, () => through),
      joined,
    ]);
    return { during, crowd };
  });
  const { during, crowd } = result;
  return {
    beforeP99Ms: before.latency.p99Ms,
    p50Ms: during.latency.p50Ms,
    p90Ms: during.latency.p90Ms,
    p99Ms: during.latency.p99Ms,
    maxMs: during.latency.maxMs,
    missing: before.missing + during.missing,
    readMs: crowd.seconds * 1000,
    eventsPerSecond: crowd.events / crowd.seconds,
    serverCpuUs: (used.server?.cpuUs ?? 0) / crowd.events,
    ...used.figures,
  };
}
