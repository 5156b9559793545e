/**
 * An upgrade as operators do it: three instances under load, each drained and replaced while the others go on. What readers and
 * producers feel of it, by the TypeScript client, which goes to another instance by itself; and that nobody misses or gets
 * anything twice, entry by entry.
 */
import { setTimeout as delay } from "node:timers/promises";
import { natsServer } from "../../test/support/nats.ts";
import type { Usage } from "../measure/usage.ts";
import { type Instance, instancesOf, openTarget } from "../targets.ts";
import { bySize, type Case } from "./case.ts";

const instances = 3;
const payloadBytes = 100;
/** Longest time of a drain, ms: readers are sent away over some of it, and a child that takes 10 s is killed. */
const drainMs = 8000;
/** From an instance that is ready to the next that is drained, as who looks at /readyz and waits a little more. */
const betweenMs = 1000;
/** How long after the last acknowledgement deliveries are waited for, ms. */
const settleMs = 10_000;

interface Load {
  readonly trees: number;
  readonly producers: number;
  readonly readers: number;
  /** Entries a second of each producer. */
  readonly perSecond: number;
  /** Instances that are replaced. */
  readonly replaced: number;
  /** Three instances and both loads are compiled while they are used: longer than elsewhere. */
  readonly warmUpMs: number;
  /** Of the phase without restarts, beside which the pauses are to be seen. */
  readonly calmMs: number;
}

export const rollingRestart: Case = {
  name: "rolling restart",
  about: `${instances} instances over one Postgres and NATS, drained and replaced one after the other; sessions that write entries of 100 bytes by a timetable, readers of whole trees, both by the TypeScript client. Longest pause: of each reader without an entry, p50 and max of all readers; beside it what it is in calm. Longest ack: of each producer, from the timetable until an entry is settled. Drain: the longest. Server CPU is of all instances together, without their starts`,
  columns: [
    "eventsPerSecond",
    "deliveriesPerSecond",
    "pauseP50Ms",
    "pauseMaxMs",
    "calmPauseP50Ms",
    "calmPauseMaxMs",
    "ackWaitP50Ms",
    "ackWaitMaxMs",
    "lost",
    "doubled",
    "drainMs",
    "serverCpuPercent",
    "databaseCpuPercent",
    "loadCpuPercent",
  ],
  contests(size) {
    const load = bySize<Load>(size, {
      full: {
        trees: 4,
        producers: 20,
        readers: 200,
        perSecond: 5,
        replaced: 3,
        warmUpMs: 5000,
        calmMs: 5000,
      },
      quick: {
        trees: 4,
        producers: 20,
        readers: 200,
        perSecond: 5,
        replaced: 3,
        warmUpMs: 3000,
        calmMs: 2000,
      },
      smoke: { trees: 1, producers: 2, readers: 5, perSecond: 20, replaced: 1, warmUpMs: 200, calmMs: 200 },
    });
    const { producers, readers, perSecond } = load;
    return [
      {
        point: `${producers} producers, ${readers} readers, ${producers * perSecond} entries/s`,
        contenders: [
          {
            name: "tributary",
            missing: natsServer.missing,
            async run(bench) {
              const target = await openTarget(bench, "tributary", { overNats: instances, drainMs });
              const workflows = await target.workflows(load.trees);
              const urls = instancesOf(target).map(({ address }) => address.url);
              const at = { urls, credential: target.apiKey };
              const reading = await bench.spawn("sdk readers", at);
              const writing = await bench.spawn("sdk producers", at);
              await reading.call("follow", workflows, readers);
              await writing.call("begin", { workflows, producers, perSecond, payloadBytes });
              await delay(load.warmUpMs);
              await reading.call("beginPauses");
              await delay(load.calmMs);
              const calm = await reading.call("pauses");

              const before = await reading.call("entries");
              await Promise.all([reading.call("beginPauses"), writing.call("beginWaits")]);
              const { result, used } = await bench.measure(undefined, [reading, writing], async () => ({
                ...(await replaceAll(instancesOf(target), load.replaced)),
                deliveries: (await reading.call("entries")) - before,
                pauses: await reading.call("pauses"),
                waits: await writing.call("waits"),
              }));
              const { drains, usages, deliveries, pauses, waits } = result;
              const told = await reading.call("finish", await writing.call("finish"), settleMs);
              const cpuUs = usages.reduce((sum, usage) => sum + usage.cpuUs, 0);
              return {
                eventsPerSecond: (deliveries / used.seconds / readers) * load.trees,
                deliveriesPerSecond: deliveries / used.seconds,
                pauseP50Ms: middle(pauses),
                pauseMaxMs: Math.max(...pauses),
                calmPauseP50Ms: middle(calm),
                calmPauseMaxMs: Math.max(...calm),
                ackWaitP50Ms: middle(waits),
                ackWaitMaxMs: Math.max(...waits),
                lost: told.lost,
                doubled: told.doubled,
                drainMs: Math.max(...drains),
                ...used.figures,
                serverCpuPercent: (cpuUs / used.seconds / 1e6) * 100,
              };
            },
          },
        ],
      },
    ];
  },
};

/** One after the other; the others go on. With the usage of all that ran in that time. */
async function replaceAll(all: readonly Instance[], count: number) {
  const drains: number[] = [];
  const usages: Usage[] = [];
  await Promise.all(all.map(({ server }) => server.own("begin", false)));
  const running = [...all];
  for (const [i, { replace }] of all.slice(0, count).entries()) {
    if (replace === undefined) throw new Error("an instance cannot be replaced");
    const { drainMs, usage, by } = await replace();
    drains.push(drainMs);
    usages.push(usage);
    running[i] = by;
    await delay(betweenMs);
  }
  const ended = await Promise.all(running.map(({ server }) => server.own("end")));
  return { drains, usages: [...usages, ...ended.map(({ usage }) => usage)] };
}

const middle = (rising: readonly number[]): number => rising[Math.floor(rising.length / 2)] ?? 0;
