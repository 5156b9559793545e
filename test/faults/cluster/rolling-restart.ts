/**
 * Three instances under load, restarted one after the other by SIGTERM: as an operator upgrades them. Measures for each reader
 * the longest time without an event, and how many readers come to an instance at once.
 */
import { findOrphans } from "../../../db/statements/find-orphans.ts";
import { Random } from "../../support/random.ts";
import { checkProducers } from "./check-producers.ts";
import { ReaderCheck } from "./check-readers.ts";
import { checkStreams } from "./check-streams.ts";
import { Cluster } from "./cluster.ts";
import { type Branch, Forest } from "./forest.ts";
import { Reader } from "./reader.ts";
import { ReaderLog } from "./reader-log.ts";
import { SessionActor } from "./session-actor.ts";
import { nap, Stage } from "./stage.ts";
import { subscribeConnect } from "./subscribe-connect.ts";
import { Archive, readTruth } from "./truth.ts";
import { Witness } from "./witness.ts";

export interface RollingOptions {
  readonly seed: number;
  readonly readers: number;
  readonly producers: number;
}

export interface RollingReport {
  readonly problems: readonly string[];
  readonly log: readonly string[];
  readonly events: number;
  readonly deliveries: number;
  /** Longest time without an event of each reader, ms, rising: in as long a time before the restarts, and through them. */
  readonly calmPausesMs: readonly number[];
  readonly pausesMs: readonly number[];
  /** Most readers that came to one instance within 100 ms, after the beginning. */
  readonly mostAtOnce: number;
}

const trees = 4;
const entriesEach = 500;
/** Each producer sends one entry in so long, ms. */
const paceMs = 200;
const calmMs = 3000;
/** Connections that readers share at each instance. */
const connections = 10;

export async function rollingRestart({
  seed,
  readers: count,
  producers,
}: RollingOptions): Promise<RollingReport> {
  const random = new Random(seed);
  const cluster = await Cluster.open({ random });
  try {
    const witness = new Witness();
    const stage = new Stage(cluster, random, witness);
    const forest = new Forest(stage);
    const roots: Branch[] = [];
    for (let i = 0; i < trees; i++)
      roots.push((await forest.grow(cluster.tenants[i % cluster.tenants.length] ?? "", undefined)) as Branch);
    const sessions = Array.from({ length: producers }, (_, i) => {
      const branch = roots[i % trees] as Branch;
      return new SessionActor(stage, { name: `p${i}`, branch, entries: entriesEach, kind: "events" });
    });
    const arrivals = new Map<string, number>();
    let isCounting = false;
    const connect = subscribeConnectCounted(cluster, (instance) => {
      const key = `${instance} ${Math.floor(Date.now() / 100)}`;
      if (isCounting) arrivals.set(key, (arrivals.get(key) ?? 0) + 1);
    });
    const pauses = new Pauses(count);
    const readers = Array.from({ length: count }, (_, i) => {
      const branch = roots[i % trees] as Branch;
      const reading = {
        scope: { kind: "subtree", branch },
        types: [],
        tasks: [],
        start: "beginning",
      } as const;
      const reader = new Reader(stage, `reader ${i}`, [new ReaderLog(`reader ${i}`, reading)], connect(i));
      reader.onEvents = () => pauses.hear(i);
      return reader;
    });
    const working = Promise.all([...sessions, ...readers].map((actor) => actor.run()));
    const beganMs = Date.now();
    const pace = setInterval(() => {
      for (const actor of sessions) actor.sendUpTo(Math.floor((Date.now() - beganMs) / paceMs));
    }, 20);
    // Until all are live.
    while (readers.some(({ logs: [log] }) => (log?.position ?? 0) < 20)) await nap(50);
    pauses.begin();
    await nap(calmMs);
    const calmPausesMs = pauses.begin();
    isCounting = true;
    for (const instance of cluster.instances) {
      witness.note(`${instance.name} is stopped`);
      await instance.stop("SIGTERM");
      witness.note(`${instance.name} is gone; longest pause so far ${Math.round(pauses.longestMs)} ms`);
      await instance.start();
      witness.note(`${instance.name} is back; longest pause so far ${Math.round(pauses.longestMs)} ms`);
      // As somebody does who waits for /readyz and a little more.
      await nap(1000);
    }
    const pausesMs = pauses.begin();
    isCounting = false;
    clearInterval(pace);
    for (const actor of sessions) actor.sendUpTo(actor.entries);
    while (sessions.some(({ finished }) => !finished)) await nap(50);
    await Promise.all(roots.map((root) => forest.close(root, true)));
    await working;
    const truth = await readTruth(cluster.pool, new Archive());
    const check = new ReaderCheck(truth);
    return {
      problems: [
        ...witness.problems,
        ...checkStreams(truth, forest),
        ...checkProducers(truth, sessions, []),
        ...readers.flatMap(({ logs }) => logs.flatMap((log) => check.events(log))),
        ...(await findOrphans(cluster.pool)),
      ],
      log: witness.log,
      events: truth.streams.reduce((sum, { rows }) => sum + rows.length, 0),
      deliveries: readers.reduce((sum, { logs }) => sum + (logs[0]?.offsets.length ?? 0), 0),
      calmPausesMs,
      pausesMs,
      mostAtOnce: Math.max(0, ...arrivals.values()),
    };
  } finally {
    await cluster.close();
  }
}

const subscribeConnectCounted =
  (cluster: Cluster, onConnect: (instance: string) => void) =>
  (reader: number): ReturnType<typeof subscribeConnect> => {
    const subscribe = subscribeConnect(cluster, `${reader % connections}`);
    return (instance, logs, signal) => {
      onConnect(instance.name);
      return subscribe(instance, logs, signal);
    };
  };

/** The longest silences. */
class Pauses {
  readonly #heardMs: number[];
  readonly #longestMs: number[];

  constructor(readers: number) {
    this.#heardMs = Array.from({ length: readers }, () => 0);
    this.#longestMs = Array.from({ length: readers }, () => 0);
  }

  hear(reader: number): void {
    const now = performance.now();
    const pause = now - (this.#heardMs[reader] ?? now);
    this.#longestMs[reader] = Math.max(this.#longestMs[reader] ?? 0, pause);
    this.#heardMs[reader] = now;
  }

  get longestMs(): number {
    return Math.max(...this.#longestMs);
  }

  /** Those so far, rising; then all begin anew. */
  begin(): number[] {
    const now = performance.now();
    const longest = this.#longestMs.map((ms, i) => Math.max(ms, now - (this.#heardMs[i] ?? now)));
    this.#longestMs.fill(0);
    this.#heardMs.fill(now);
    return longest.toSorted((a, b) => a - b);
  }
}
