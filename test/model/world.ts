/**
 * A random life of some trees: publishers, readers of every scope and filter, slow ones, late children, closings, trims,
 * restarts. At the end everything is closed, and each reader must have got exactly what the store holds for it.
 */
import type pg from "pg";
import type { EntriesResult, LifecycleResult } from "../../server/core/command.ts";
import { EventType, isTaskTerminal } from "../../server/core/event.ts";
import { splitAtHazards } from "../../server/core/hazards.ts";
import type { EventFilter, ScopeKey } from "../../server/core/ports.ts";
import { createPgRetentionStore } from "../../server/store/pg-retention-store.ts";
import { anEvent, close, create, entries } from "../support/commands.ts";
import type { CoreServer } from "../support/core-server.ts";
import { newId } from "../support/database.ts";
import type { Random } from "../support/random.ts";
import { ModelReader } from "./reader.ts";

interface Tree {
  readonly stream: string;
  readonly root: string;
  readonly workflows: { id: string; parent: string | undefined }[];
}

/** What the store held of an event, kept before a trim removes it. */
export interface ArchivedEvent {
  readonly offset: number;
  readonly workflowId: string;
  readonly task: string;
  readonly type: number;
  readonly payload: string;
}

const tasks = ["a", "b", "c"];
const types = [EventType.TOKEN, EventType.PROGRESS, EventType.DATA, EventType.STARTED];

export class World {
  readonly trees: Tree[] = [];
  readonly readers: ModelReader[] = [];
  /** Payloads of events that were acknowledged as durable. */
  readonly durable = new Set<string>();
  readonly #archive = new Map<string, Map<number, ArchivedEvent>>();
  readonly #server: CoreServer;
  readonly #pool: pg.Pool;
  readonly #random: Random;
  readonly #pending = new Set<Promise<unknown>>();
  #counter = 0;

  constructor(server: CoreServer, pool: pg.Pool, random: Random) {
    this.#server = server;
    this.#pool = pool;
    this.#random = random;
  }

  async step(): Promise<void> {
    const random = this.#random;
    const dice = random.next();
    if (this.trees.length === 0 || (dice < 0.01 && this.trees.length < 4)) return this.#newTree();
    const tree = random.pick(this.trees);
    if (dice < 0.05) return this.#newChild(tree);
    if (dice < 0.07) return this.#close(tree, random.pick(tree.workflows).id, random.chance(0.5));
    if (dice < 0.14) return this.#newReader(tree);
    if (dice < 0.2 && this.readers.length > 0) return this.#reconnect(random.pick(this.readers));
    if (dice < 0.205) return this.#restart();
    if (dice < 0.215) return this.#trim(tree);
    this.#publish(tree);
    if (random.chance(0.3)) await this.settle();
    if (random.chance(0.1)) await new Promise((resolve) => setTimeout(resolve, random.below(10)));
  }

  /** Waits for what was published. */
  async settle(): Promise<void> {
    await Promise.all(this.#pending);
  }

  /** Closes all trees, then waits until every reader has come to its end. */
  async finish(patienceMs: number): Promise<void> {
    await this.settle();
    // One by one: a root that is closed already leaves its descendants open.
    for (const tree of this.trees) for (const { id } of tree.workflows) await this.#close(tree, id, true);
    const all = Promise.all(this.readers.map((reader) => reader.done));
    await Promise.race([all, new Promise((resolve) => setTimeout(resolve, patienceMs))]);
    await Promise.all(this.readers.map((reader) => reader.disconnect()));
  }

  /** What is wrong; empty: nothing. */
  async problems(): Promise<string[]> {
    const found: string[] = [];
    for (const tree of this.trees) await this.#keep(tree);
    const stored = new Map<string, number>();
    for (const archive of this.#archive.values()) {
      for (const event of archive.values()) stored.set(event.payload, (stored.get(event.payload) ?? 0) + 1);
    }
    for (const payload of this.durable) {
      if (stored.get(payload) !== 1)
        found.push(`durable event ${payload} is stored ${stored.get(payload) ?? 0} times`);
    }
    for (const reader of this.readers) {
      for (const problem of [...reader.problems, ...this.#compare(reader)])
        found.push(`${reader.name}: ${problem}`);
    }
    return found;
  }

  #compare(reader: ModelReader): string[] {
    const { request, start } = reader;
    const tree = this.trees.find((candidate) => candidate.stream === request.streamId);
    if (tree === undefined || start === undefined) return ["never opened"];
    const inScope = this.#membership(tree, request.scope);
    const events = [...(this.#archive.get(tree.stream)?.values() ?? [])].toSorted(
      (a, b) => a.offset - b.offset,
    );
    const final = this.#finalOffset(tree, request.scope, events);
    const expected = events.filter(
      (event) =>
        event.offset > start &&
        inScope(event) &&
        passes(request.filter, event) &&
        !reader.gaps.some((gap) => event.offset >= gap.from && event.offset <= gap.to),
    );
    const problems: string[] = [];
    const isGot = new Set(reader.events.map((event) => event.offset));
    const left = expected.filter(({ offset }) => !isGot.has(offset));
    const got = reader.events.map((event) => event.offset).join();
    const wanted = expected.filter(({ offset }) => isGot.has(offset)).map((event) => event.offset);
    if (got !== wanted.join())
      problems.push(`after ${start} got [${got}], of these [${wanted}] are expected`);
    for (const event of left) {
      // Nothing is left out but what a newer one of its kind stands for.
      const isReplaced =
        request.conflateTypes?.includes(event.type) === true &&
        reader.events.some(
          (later) =>
            later.offset > event.offset &&
            (later.replaced ?? 0) > 0 &&
            later.type === event.type &&
            later.workflowId === event.workflowId &&
            later.taskExecutionId === event.task,
        );
      if (!isReplaced) problems.push(`after ${start} did not get ${event.offset}`);
    }
    const replaced = reader.events.reduce((sum, event) => sum + (event.replaced ?? 0), 0);
    if (replaced !== left.length) problems.push(`${replaced} replaced, ${left.length} left out`);
    const payloads = new Map(expected.map(({ offset, payload }) => [offset, payload]));
    for (const event of reader.events) {
      if (String(event.payload ?? "") !== payloads.get(event.offset)) {
        problems.push(`wrong payload at ${event.offset}`);
      }
    }
    if (reader.ended === undefined) problems.push("did not come to an end");
    else if (reader.ended.finalOffset !== final)
      problems.push(`ended at ${reader.ended.finalOffset}, expected ${final}`);
    return problems;
  }

  #membership(tree: Tree, scope: ScopeKey): (event: ArchivedEvent) => boolean {
    if (scope.kind === "tree") return () => true;
    if (scope.kind === "workflow") return (event) => event.workflowId === scope.workflowId;
    if (scope.kind === "task") {
      return (event) => event.workflowId === scope.workflowId && event.task === scope.taskExecutionId;
    }
    const members = new Set([scope.workflowId]);
    // Parents come before their children.
    for (const { id, parent } of tree.workflows)
      if (parent !== undefined && members.has(parent)) members.add(id);
    return (event) => members.has(event.workflowId);
  }

  #finalOffset(tree: Tree, scope: ScopeKey, events: readonly ArchivedEvent[]): number | undefined {
    const isEnd = ({ type }: ArchivedEvent) => type >= 21 && type <= 23;
    if (scope.kind === "task") {
      const inTask = this.#membership(tree, scope);
      return (
        events.find((event) => inTask(event) && isTaskTerminal(event.type)) ??
        events.find((event) => event.workflowId === scope.workflowId && isEnd(event))
      )?.offset;
    }
    const inScope = this.#membership(tree, scope);
    return events.findLast((event) => inScope(event) && isEnd(event))?.offset;
  }

  /** Takes over what the store holds now; a trim removes some of it. */
  async #keep(tree: Tree): Promise<void> {
    const archive = this.#archive.get(tree.stream) ?? new Map<number, ArchivedEvent>();
    this.#archive.set(tree.stream, archive);
    const { rows } = await this.#pool.query(
      `select "offset", workflow_id, task_execution_id, type, convert_from(payload, 'UTF8') as payload
         from event where stream_id = $1`,
      [tree.stream],
    );
    for (const row of rows) {
      archive.set(Number(row.offset), {
        offset: Number(row.offset),
        workflowId: row.workflow_id,
        task: row.task_execution_id,
        type: row.type,
        payload: row.payload ?? "",
      });
    }
  }

  async #newTree(): Promise<void> {
    const [stream, root] = [newId(), newId()];
    await this.#lifecycle(create(stream, { workflowId: root }));
    this.trees.push({ stream, root, workflows: [{ id: root, parent: undefined }] });
  }

  async #newChild(tree: Tree): Promise<void> {
    const parent = this.#random.pick(tree.workflows).id;
    const id = newId();
    const { result } = await this.#lifecycle(
      create(tree.stream, { workflowId: id, parentWorkflowId: parent }),
    );
    if (result === "created") tree.workflows.push({ id, parent });
  }

  async #close(tree: Tree, id: string, withDescendants: boolean): Promise<void> {
    await this.#lifecycle(close(tree.stream, id, withDescendants, 2 + this.#random.below(3)));
  }

  async #lifecycle(command: Parameters<CoreServer["appender"]["submit"]>[0]): Promise<LifecycleResult> {
    const submission = this.#server.appender.submit(command);
    if (submission.offer !== "queued") throw new Error(submission.offer);
    return (await submission.result) as LifecycleResult;
  }

  #publish(tree: Tree): void {
    const random = this.#random;
    const { id } = random.pick(tree.workflows);
    const events = Array.from({ length: 1 + random.below(random.chance(0.1) ? 400 : 8) }, () =>
      anEvent({
        workflowId: id,
        taskExecutionId: random.chance(0.5) ? random.pick(tasks) : `t${this.#counter}`,
        type: random.chance(0.02) ? EventType.COMPLETED : random.pick(types),
        payload: `event ${this.#counter++}`,
        producerId: "",
      }),
    );
    const chain = { broken: false };
    for (const run of splitAtHazards(events)) {
      const submission = this.#server.appender.submit(entries(tree.stream, run, chain));
      if (submission.offer !== "queued") throw new Error(submission.offer);
      const noted = submission.result.then((result) => {
        const [refused] = (result as EntriesResult).refusals;
        for (const event of run.slice(0, refused?.index ?? run.length))
          this.durable.add(String(event.payload));
      });
      this.#pending.add(noted);
      void noted.finally(() => this.#pending.delete(noted));
    }
  }

  #newReader(tree: Tree): void {
    const random = this.#random;
    const workflow = random.pick(tree.workflows).id;
    const scope: ScopeKey = random.pick<ScopeKey>([
      { kind: "tree", workflowId: tree.root },
      { kind: "workflow", workflowId: workflow },
      workflow === tree.root
        ? { kind: "tree", workflowId: tree.root }
        : { kind: "subtree", workflowId: workflow },
      { kind: "task", workflowId: workflow, taskExecutionId: random.pick(tasks) },
    ]);
    const filter: EventFilter = {
      types: random.chance(0.3) ? [random.pick(types), EventType.COMPLETED] : undefined,
      tasks: random.chance(0.2) ? [random.pick(tasks), random.pick(tasks)] : undefined,
    };
    const reader = new ModelReader(
      `reader ${this.readers.length} of ${JSON.stringify(scope)}`,
      {
        streamId: tree.stream,
        scope,
        filter,
        start: random.chance(0.3) ? "latest" : random.below(2),
        conflateTypes: random.chance(0.4) ? [EventType.PROGRESS, EventType.DATA] : [],
        minIntervalMs: random.chance(0.3) ? random.below(200) : 0,
      },
      random,
    );
    this.readers.push(reader);
    reader.connect(this.#server);
  }

  async #reconnect(reader: ModelReader): Promise<void> {
    if (reader.ended !== undefined) return;
    await reader.disconnect();
    reader.connect(this.#server);
  }

  async #restart(): Promise<void> {
    await this.settle();
    await Promise.all(this.readers.map((reader) => reader.disconnect()));
    await this.#server.restart();
    for (const reader of this.readers) if (reader.ended === undefined) reader.connect(this.#server);
  }

  /** Gives a tree a limit, or lets it be old if it has ended; then a sweep, which may die after any of its batches. */
  async #trim(tree: Tree): Promise<void> {
    const random = this.#random;
    if (random.chance(0.7)) {
      await this.#pool.query("update workflow set retention_max_events = $2 where workflow_id = $1", [
        tree.root,
        1 + random.below(200),
      ]);
      await this.#pool.query("insert into retention_due values ($1) on conflict do nothing", [tree.stream]);
    } else {
      await this.#pool.query("update closed_tree set closed_ms = 0, max_age_ms = 1 where stream_id = $1", [
        tree.stream,
      ]);
    }
    const retention = createPgRetentionStore(this.#pool);
    for (let batch = random.below(6); batch >= 0; batch--) {
      await retention.raiseFloors(1 + random.below(3), random.chance(0.2), undefined);
      // Below the floor now, but still there.
      for (const each of this.trees) await this.#keep(each);
      if (random.chance(0.7)) await retention.deleteEntries(1 + random.below(300));
    }
  }
}

function passes(filter: EventFilter, event: ArchivedEvent): boolean {
  return (
    (filter.types === undefined || filter.types.includes(event.type)) &&
    (filter.tasks === undefined || filter.tasks.includes(event.task))
  );
}
