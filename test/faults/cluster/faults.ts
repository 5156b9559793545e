/**
 * What is done to the cluster. Each fault has something that it breaks, so that no two break the same at once; it is healed when
 * its promise resolves.
 */

import { RejectionCode } from "../../../gen/tributary/v1/session_pb.ts";
import type { Forest } from "./forest.ts";
import type { Instance } from "./instance.ts";
import type { Link } from "./link.ts";
import type { Reader } from "./reader.ts";
import type { SessionActor, SessionActorOptions } from "./session-actor.ts";
import { nap, type Stage } from "./stage.ts";
import type { Archive } from "./truth.ts";

export interface Scene {
  readonly stage: Stage;
  readonly forest: Forest;
  readonly readers: readonly Reader[];
  addSession(options: SessionActorOptions): SessionActor;
  readonly archive: Archive;
}

type Breaks = "instance" | "postgres" | "nats" | "streams" | "readers";

interface Fault {
  readonly breaks: Breaks;
  /** `target` counts if an instance breaks. Resolves with how it went, if there is something to say. */
  run(scene: Scene, target: Instance): Promise<unknown>;
}

/** A while, ms: more often short than long. */
const between = ({ stage }: Scene, least: number, most: number) =>
  least + Math.floor(stage.random.next() ** 2 * (most - least));

/** Breaks all connections of a link, and most of the times refuses new ones for a while. */
async function cut(scene: Scene, link: Link | undefined): Promise<void> {
  if (link === undefined) return;
  if (scene.stage.random.chance(0.3)) {
    link.cut();
    return;
  }
  link.refuse();
  await nap(between(scene, 100, 1500));
  link.restore();
}

/** Nothing passes for a while, in one direction or both; then it goes on, or is cut. */
async function silence(scene: Scene, link: Link | undefined): Promise<string> {
  if (link === undefined) return "";
  const { random } = scene.stage;
  const directions = random.pick([["up"], ["down"], ["up", "down"]] as const);
  link.silence(...directions);
  await nap(between(scene, 300, 4500));
  const isCut = random.chance(0.5);
  if (isCut) link.cut();
  else link.restore();
  return `${directions.join(" and ")}, then ${isCut ? "cut" : "as before"}`;
}

const minuteMs = 60_000;

export const faults = {
  kill: {
    breaks: "instance",
    async run(scene, target) {
      await target.stop("SIGKILL");
      await nap(between(scene, 0, 800));
      await target.start();
    },
  },
  drain: {
    breaks: "instance",
    async run(_, target) {
      await target.stop("SIGTERM");
      await target.start();
    },
  },
  /** It wakes with connections, sessions and a clock of before. */
  pause: {
    breaks: "instance",
    async run(scene, target) {
      target.pause();
      await nap(between(scene, 500, 5500));
      target.wake();
    },
  },
  "clock jump": {
    breaks: "instance",
    run({ stage: { random } }, target) {
      const offsetMs = (random.next() - 0.5) * 20 * minuteMs;
      const drift = random.pick([0, 0.03, -0.03]);
      target.setClock({ offsetMs, drift });
      return Promise.resolve(`by ${(offsetMs / minuteMs).toFixed(1)} minutes, drift ${drift}`);
    },
  },
  "cut from Postgres": { breaks: "instance", run: (scene, { database }) => cut(scene, database) },
  "silent to Postgres": { breaks: "instance", run: (scene, { database }) => silence(scene, database) },
  "cut from NATS": { breaks: "instance", run: (scene, { bus }) => cut(scene, bus) },
  "silent to NATS": { breaks: "instance", run: (scene, { bus }) => silence(scene, bus) },
  "cut from clients": { breaks: "instance", run: (scene, { clients }) => cut(scene, clients) },
  "silent to clients": { breaks: "instance", run: (scene, { clients }) => silence(scene, clients) },
  /** Messages of NATS are lost, doubled and late. */
  noise: {
    breaks: "instance",
    async run(scene, { noise }) {
      noise.level = 0.1 + scene.stage.random.next() * 0.8;
      await nap(between(scene, 1000, 4000));
      noise.level = 0;
      return `${noise.touched} messages so far`;
    },
  },
  "Postgres restart": { breaks: "postgres", run: ({ stage }) => stage.cluster.postgres.restart("fast") },
  "Postgres immediate stop": {
    breaks: "postgres",
    run: ({ stage }) => stage.cluster.postgres.restart("immediate"),
  },
  "Postgres kill": { breaks: "postgres", run: ({ stage }) => stage.cluster.postgres.restart("kill") },
  /** Some connections of the instances, by an administrator. */
  "backends terminated": {
    breaks: "postgres",
    async run({ stage }) {
      const { rows } = await stage.cluster.pool.query(
        `select count(pg_terminate_backend(pid)) as n from pg_stat_activity
          where application_name = 'tributary' and random() < $1`,
        [0.2 + stage.random.next() * 0.6],
      );
      return `${rows[0].n}`;
    },
  },
  "NATS restart": {
    breaks: "nats",
    async run(scene) {
      const { nats } = scene.stage.cluster;
      await nats?.kill();
      await nap(between(scene, 0, 2500));
      await nats?.start();
    },
  },
  "NATS paused": {
    breaks: "nats",
    async run(scene) {
      const { nats } = scene.stage.cluster;
      nats?.pause();
      await nap(between(scene, 500, 4000));
      nats?.resume();
    },
  },
  "stream locked": {
    breaks: "streams",
    async run(scene) {
      const { root } = scene.stage.random.pick(scene.forest.roots);
      await holdLock(scene, root, between(scene, 500, 4500));
    },
  },
  /** More for one stream than a tenant may have in the lane of one instance, while nothing of it can be stored. */
  flood: {
    breaks: "streams",
    async run(scene) {
      const { stage, forest } = scene;
      const branch = stage.random.pick(forest.roots);
      const at = stage.anyInstance();
      const actors = Array.from({ length: 8 }, (_, i) =>
        scene.addSession({
          name: `${branch.tenant}-f${Date.now()}-${i}`,
          branch,
          entries: 1200,
          kind: "events",
          flood: at,
        }),
      );
      // To attach needs the lock too. If the instance is away they go elsewhere, and it is no flood of one.
      const deadlineMs = Date.now() + 3000;
      while (actors.some(({ writer }) => writer.connections === 0) && Date.now() < deadlineMs) await nap(20);
      const lock = holdLock(scene, branch.root, 2000);
      await nap(50);
      for (const actor of actors) actor.flood();
      await lock;
      const told = actors.filter(({ writer }) => writer.refusals.has(RejectionCode.OVERLOADED)).length;
      stage.witness.count("sessions of floods told OVERLOADED", told);
      return `${told} of ${actors.length} sessions were told OVERLOADED by ${at.name}`;
    },
  },
  "readers that stop reading": {
    breaks: "readers",
    run(scene) {
      const { random } = scene.stage;
      const some = scene.readers.filter(() => random.chance(0.2));
      for (const reader of some) reader.stall(between(scene, 1000, 6000));
      return Promise.resolve(`${some.length}`);
    },
  },
  /** As retention: readers in the middle of it are told of a gap. */
  trim: {
    breaks: "streams",
    run({ stage, forest, archive }) {
      const { root } = stage.random.pick(forest.roots);
      const share = 0.5 + stage.random.next() / 2;
      return unlessAway(async () => `${root} up to ${await archive.trim(stage.cluster.pool, root, share)}`);
    },
  },
} as const satisfies Record<string, Fault>;

export type FaultName = keyof typeof faults;
export const faultNames = Object.keys(faults) as FaultName[];

/** As some transaction of somebody else would. */
async function holdLock({ stage }: Scene, root: string, ms: number): Promise<void> {
  await unlessAway(async () => {
    const client = await stage.cluster.pool.connect();
    let broken: Error | undefined;
    client.on("error", (error) => {
      broken = error;
    });
    try {
      await client.query("begin");
      await client.query(
        "select 1 from stream where stream_id = (select stream_id from workflow where workflow_id = $1) for update",
        [root],
      );
      await nap(ms);
      await client.query("rollback");
    } catch (error) {
      broken = error as Error;
      throw error;
    } finally {
      client.release(broken);
    }
  });
}

/** Another fault may have taken Postgres away: then this one is over. */
async function unlessAway(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    const code = (error as { code?: string }).code ?? "";
    const isAway =
      /^(57|08|ECONN|EPIPE)/.test(code) || /terminated|timeout|not queryable/.test(String(error));
    if (!isAway) throw error;
    return `Postgres was away: ${(error as Error).message}`;
  }
}
