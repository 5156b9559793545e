/** Who plays in a life: some trees of two tenants, writers and readers of all kinds, a gardener, a trespasser. */

import { EventType } from "../../../gen/tributary/v1/event_pb.ts";
import type { Branch, Forest } from "./forest.ts";
import { Reader, type Subscribe, silence } from "./reader.ts";
import { ReaderLog, type Reading, type Scope } from "./reader-log.ts";
import { followRecall } from "./recall-follower.ts";
import { SessionActor, type SessionActorOptions } from "./session-actor.ts";
import { SingleProducer } from "./single-producer.ts";
import { nap, type Stage } from "./stage.ts";
import { subscribeConnect, subscribeMany } from "./subscribe-connect.ts";
import { subscribeSse } from "./subscribe-sse.ts";
import { trespass } from "./trespasser.ts";
import { type Snapshot, watchVariables } from "./variable-watcher.ts";
import { VariableWriter } from "./variable-writer.ts";

const treesPerTenant = 2;
const sessionsPerTree = 4;
const observersPerTenant = 2;
/** Of all entries. */
const observedShare = 0.05;

export async function createCast(stage: Stage, forest: Forest, events: number): Promise<Cast> {
  const cast = new Cast(stage, forest);
  for (const tenant of stage.cluster.tenants) {
    for (let i = 0; i < treesPerTenant; i++) {
      const root = (await forest.grow(tenant)) as Branch;
      const child = (await forest.grow(tenant, root)) as Branch;
      const grandchild = (await forest.grow(tenant, child)) as Branch;
      cast.enter([root, child, grandchild], events);
    }
  }
  cast.begin(events);
  return cast;
}

export class Cast {
  readonly forest: Forest;
  readonly sessions: SessionActor[] = [];
  readonly singles: SingleProducer[] = [];
  readonly variableWriters: VariableWriter[] = [];
  readonly readers: Reader[] = [];
  readonly watchers: Reader[] = [];
  readonly snapshots: Snapshot[] = [];
  readonly recalls: { readonly reader: Reader; readonly word: string }[] = [];
  readonly writing: Promise<unknown>[] = [];
  readonly reading: Promise<unknown>[] = [];
  readonly #stage: Stage;
  /** Of the gardener; the others stay open to the end, so that all of their entries are stored. */
  readonly #grown = new Set<Branch>();
  #progress = 0;

  constructor(stage: Stage, forest: Forest) {
    this.#stage = stage;
    this.forest = forest;
  }

  /** The actors of one tree, the lasting ones. */
  enter(branches: readonly Branch[], events: number): void {
    const { random, cluster } = this.#stage;
    const trees = treesPerTenant * cluster.tenants.length;
    const entries = Math.ceil((events * (1 - observedShare)) / trees / sessionsPerTree);
    for (let i = 0; i < sessionsPerTree; i++) this.#session(random.pick(branches), entries, "events");
    for (const isNumbered of [true, true, false]) this.#single(random.pick(branches), isNumbered);
    const watched = random.pick(branches);
    for (let i = 0; i < 2; i++) this.#variables(watched);
    for (let i = 0; i < 2; i++) this.#watch(watched);
    this.#readersOf(branches, "beginning");
    this.#readersOf(branches, "latest");
  }

  begin(events: number): void {
    const { cluster } = this.#stage;
    for (const tenant of cluster.tenants) {
      const root = this.forest.roots.find((branch) => branch.tenant === tenant) as Branch;
      const entries = Math.ceil((events * observedShare) / observersPerTenant / cluster.tenants.length);
      for (let i = 0; i < observersPerTenant; i++) this.#session(root, entries, "observations");
      for (const word of ["rare", "common"]) this.#recall(root, word);
    }
    for (const tenant of cluster.tenants) this.writing.push(this.#garden(tenant));
    this.writing.push(trespass(this.#stage, this.forest));
  }

  /** Writers that come while others are awaited are awaited too. */
  async finishWriting(): Promise<void> {
    for (let done = 0; done < this.writing.length; ) {
      done = this.writing.length;
      await Promise.all(this.writing);
    }
  }

  /** So much of the load may be sent, 0–1. */
  pace(progress: number): void {
    this.#progress = Math.min(1, progress);
    for (const actor of this.sessions) actor.sendUpTo(Math.floor(actor.entries * this.#progress));
  }

  /** Children come and go at any instance; each has a worker of its own, readers, and an end. */
  async #garden(tenant: string): Promise<void> {
    const { random } = this.#stage;
    while (!this.#stage.over) {
      await nap(200 + random.below(1200));
      const parents = [...this.forest.branches.values()].filter(
        (branch) => branch.tenant === tenant && branch.closing === undefined,
      );
      const parent = random.pick(parents);
      const dice = random.next();
      if (dice < 0.5 || parent.parent === undefined) {
        const child = await this.forest.grow(tenant, parent);
        if (child === undefined) continue;
        this.#grown.add(child);
        this.#session(child, 200 + random.below(1500), "events");
        this.#single(child, random.chance(0.5));
        this.#readersOf([child], random.pick(["beginning", "latest"]), 2);
      } else if (dice < 0.65) await this.forest.cancel(parent);
      else if (dice < 0.8 && this.#grown.has(parent)) await this.forest.close(parent, random.chance(0.5));
    }
  }

  #session(branch: Branch, entries: number, kind: "events" | "observations"): void {
    const name = `${branch.tenant}-${kind === "events" ? "s" : "o"}${this.sessions.length}`;
    this.addSession({ name, branch, entries, kind });
  }

  addSession(options: SessionActorOptions): SessionActor {
    const actor = new SessionActor(this.#stage, options);
    this.sessions.push(actor);
    actor.sendUpTo(Math.floor(actor.entries * this.#progress));
    this.writing.push(actor.run());
    return actor;
  }

  #single(branch: Branch, isNumbered: boolean): void {
    const single = new SingleProducer(
      this.#stage,
      `${branch.tenant}-${isNumbered ? "u" : "a"}${this.singles.length}`,
      branch,
      isNumbered,
    );
    this.singles.push(single);
    this.writing.push(single.run(2000));
  }

  #variables(branch: Branch): void {
    const writer = new VariableWriter(
      this.#stage,
      `${branch.tenant}-v${this.variableWriters.length}`,
      branch,
      ["alpha", "beta", "gamma"],
    );
    this.variableWriters.push(writer);
    this.writing.push(writer.run());
  }

  #watch(branch: Branch): void {
    const reading: Reading = { scope: { kind: "workflow", branch }, types: [], tasks: [], start: "latest" };
    const log = new ReaderLog(`watcher ${this.watchers.length} of ${branch.id}`, reading);
    const reader = new Reader(
      this.#stage,
      log.name,
      [log],
      watchVariables(this.#stage.cluster, this.snapshots),
    );
    this.watchers.push(reader);
    this.reading.push(reader.run());
  }

  #recall(branch: Branch, word: string): void {
    const reading: Reading = { scope: { kind: "subtree", branch }, types: [], tasks: [], start: "beginning" };
    const log = new ReaderLog(`recall of ${word} by ${branch.tenant}`, reading);
    const reader = new Reader(this.#stage, log.name, [log], followRecall(this.#stage.cluster, word));
    this.recalls.push({ reader, word });
    void reader.run();
  }

  /** Readers of these branches, of all scopes and protocols; `most`: only so many of them. */
  #readersOf(branches: readonly Branch[], start: Reading["start"], most = 8): void {
    const { random, cluster, witness } = this.#stage;
    const any = () => random.pick(branches);
    const [top] = branches as [Branch];
    const task = (branch: Branch): Scope => {
      const worker = this.sessions.find((actor) => actor.branch === branch && actor.kind === "events");
      return { kind: "task", branch, task: `${worker?.name ?? "nobody"}-t${1 + random.below(3)}` };
    };
    const plain = (scope: Scope, types: Reading["types"] = [], tasks: readonly string[] = []): Reading => ({
      scope,
      types,
      tasks,
      start,
    });
    const connect = () => subscribeConnect(cluster, random.pick(["", "", `${this.readers.length}`]));
    const sse = subscribeSse(cluster, witness);
    const kinds: readonly (readonly [Subscribe, ...Reading[]])[] = [
      [connect(), plain({ kind: "subtree", branch: top })],
      [connect(), plain({ kind: "workflow", branch: any() })],
      [connect(), plain(task(any()))],
      [connect(), plain({ kind: "subtree", branch: any() }, [EventType.PROGRESS, EventType.COMPLETED])],
      [connect(), plain({ kind: "workflow", branch: any() }, [], [`${this.sessions[0]?.name}-t1`])],
      [sse, plain({ kind: "subtree", branch: any() }, start === "latest" ? [EventType.TOKEN] : [])],
      [sse, plain(task(any()))],
      [
        subscribeMany(cluster, witness),
        plain({ kind: "subtree", branch: any() }, [EventType.DATA]),
        plain({ kind: "workflow", branch: any() }),
        plain(task(any())),
      ],
    ];
    const chosen = kinds.length <= most ? kinds : Array.from({ length: most }, () => random.pick(kinds));
    for (const [subscribe, ...readings] of chosen) this.#reader(subscribe, readings, subscribe === sse);
  }

  #reader(subscribe: Subscribe, readings: readonly Reading[], isSse: boolean): void {
    const name = `reader ${this.readers.length}`;
    const logs = readings.map((reading) => new ReaderLog(`${name} ${describe(reading, isSse)}`, reading));
    const reader = new Reader(this.#stage, name, logs, subscribe, isSse ? silence.sse : silence.connect);
    this.readers.push(reader);
    this.reading.push(reader.run());
  }

  /** Some branches by themselves, then the trees. */
  async closeAll(): Promise<void> {
    const { random } = this.#stage;
    const branches = [...this.forest.branches.values()].filter(({ parent }) => parent !== undefined);
    await Promise.all(
      branches
        .filter(() => random.chance(0.3))
        .map((branch) => this.forest.close(branch, random.chance(0.5))),
    );
    await Promise.all(this.forest.roots.map((root) => this.forest.close(root, true)));
    // A root that was closed without its descendants leaves them open.
    await Promise.all(branches.map((branch) => this.forest.close(branch, true)));
  }

  /** Readers that come when everything is over. */
  readAgain(): void {
    for (const root of this.forest.roots) this.#readersOf([root], "beginning", 1);
  }

  /** A space has no end: they are stopped when they have come to its tail. */
  async endRecalls(): Promise<void> {
    for (const { reader } of this.recalls) {
      const [log] = reader.logs;
      const tenant = log?.reading.scope.branch.tenant;
      const { rows } = await this.#stage.cluster.pool.query(
        "select next_offset - 1 as tail from stream where kind = 2 and tenant_slug = $1",
        [tenant],
      );
      while ((log?.position ?? 0) < Number(rows[0]?.tail ?? 0)) await nap(50);
      reader.stop();
    }
  }

  explainWriters(): void {
    for (const actor of this.sessions)
      if (!actor.finished)
        this.#stage.witness.blame(
          actor.name,
          `${actor.writer.durable} of ${actor.entries} settled, ${actor.resumedAt.length} connections`,
        );
  }

  explainReaders(): void {
    for (const { logs, where } of [
      ...this.readers,
      ...this.watchers,
      ...this.recalls.map(({ reader }) => reader),
    ])
      for (const { name, finalOffset, position } of logs)
        if (finalOffset === undefined) this.#stage.witness.blame(name, `still open at ${position}, ${where}`);
    for (const reader of [...this.readers, ...this.watchers]) reader.stop();
    for (const { reader } of this.recalls) reader.stop();
  }
}

function describe({ scope, types, tasks, start }: Reading, isSse: boolean): string {
  const of = scope.kind === "task" ? `task ${scope.task}` : scope.kind;
  const filter = `${types.length > 0 ? ` types ${types}` : ""}${tasks.length > 0 ? ` tasks ${tasks}` : ""}`;
  return `(${isSse ? "SSE, " : ""}${of} of ${scope.branch.id}${filter}, from ${start})`;
}
