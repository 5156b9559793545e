/**
 * Changes of the registry over a real Postgres, with a bus that loses every signal and interleavings that are forced: the
 * store is wrapped, so that things happen exactly before and after its answers.
 */

import pg from "pg";
import { afterEach, describe, expect, onTestFinished, test } from "vitest";
import { append } from "../../db/statements/append.ts";
import type { Clock } from "../../server/core/clock.ts";
import { systemClock } from "../../server/core/clock.ts";
import type { Command } from "../../server/core/command.ts";
import { limits } from "../../server/core/limits.ts";
import { OpenCalls } from "../../server/core/open-call.ts";
import { StoreError } from "../../server/core/ports.ts";
import type { Change, ChangePosition, WorkflowChangeStore } from "../../server/core/watch/change-store.ts";
import { type WatchMessage, type WatchRequest, watchWorkflows } from "../../server/core/watch/watch.ts";
import { Watches } from "../../server/core/watch/watches.ts";
import { toAppendGroup } from "../../server/store/append-group.ts";
import { createPgWorkflowChanges } from "../../server/store/pg-workflow-changes.ts";
import { close, create } from "../support/commands.ts";
import { newId, useDatabase } from "../support/database.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";
import { until } from "../support/until.ts";

const database = useDatabase();
const owner = { tenant: "acme", apiKeyId: undefined, expiresMs: undefined };
let tenants = 0;
const worlds: World[] = [];

afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

/** Commits them, or as the client's transaction has it. */
async function commit(commands: readonly Command[], client?: pg.Client): Promise<void> {
  const own = client ?? (await database.pool.connect());
  try {
    await append(own as pg.Client, toAppendGroup(commands));
  } finally {
    if (client === undefined) (own as pg.PoolClient).release();
  }
}

/** One instance: watches of a tenant of its own. */
class World {
  readonly tenant = `tenant-${++tenants}`;
  readonly failures: string[] = [];
  readonly calls: OpenCalls;
  readonly watches: Watches;
  readonly clock: Clock;
  /** May be replaced while they go on. */
  changes: WorkflowChangeStore = createPgWorkflowChanges(database.pool);
  readonly #current: WorkflowChangeStore = {
    readNewest: (request) => this.changes.readNewest(request),
    readChanges: (...request) => this.changes.readChanges(...request),
    includes: (...of) => this.changes.includes(...of),
    isCovered: (...of) => this.changes.isCovered(...of),
  };
  readonly #stop = new AbortController();
  readonly #reading: Promise<void>[] = [];

  constructor(clock: Clock = systemClock) {
    worlds.push(this);
    this.clock = clock;
    this.calls = new OpenCalls({ clock, random: Math.random });
    this.watches = new Watches({
      changes: this.#current,
      bus: { signal: () => {}, onSignal: () => Promise.resolve(() => {}) },
      clock,
      onFailure: (message) => this.failures.push(message),
    });
  }

  async open(): Promise<this> {
    await database.pool.query("insert into tenant (slug) values ($1)", [this.tenant]);
    return this;
  }

  watch(request: Partial<WatchRequest> = {}): AsyncGenerator<WatchMessage> {
    const access = { tenant: this.tenant, subtrees: undefined, seesVariables: true };
    const full = { rootsOnly: false, snapshotSize: 0, ...request };
    return watchWorkflows(
      { watches: this.watches, changes: this.#current, calls: this.calls, clock: this.clock },
      access,
      owner,
      full,
      this.#stop.signal,
    );
  }

  /** Reads a watch as fast as it sends. */
  follow(request: Partial<WatchRequest> = {}): Seen {
    const seen = new Seen();
    const read = async () => {
      try {
        for await (const message of this.watch(request)) seen.add(message);
      } catch (error) {
        if (!this.#stop.signal.aborted) seen.error = error;
      }
    };
    this.#reading.push(read());
    return seen;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#reading);
    expect(this.watches.size).toBe(0);
    expect(this.calls.size).toBe(0);
    let isClosed = false;
    const closing = this.watches.close().finally(() => {
      isClosed = true;
    });
    // A query that was under way is followed by a short wait.
    if (this.clock instanceof ManualClock) for (; !isClosed; await settled()) await this.clock.advance(100);
    await closing;
  }

  /** Registers roots, committed. */
  async create(count = 1, client?: pg.Client): Promise<string[]> {
    const ids = Array.from({ length: count }, newId);
    for (let at = 0; at < count; at += 500) {
      const group = ids
        .slice(at, at + 500)
        .map((workflowId) => create(newId(), { workflowId, tenant: this.tenant }));
      await commit(group, client);
    }
    return ids;
  }

  async touch(ids: readonly string[], note: string, db: Pick<pg.Client, "query"> = database.pool) {
    const metadata = JSON.stringify({ note });
    await db.query("update workflow set metadata = $1 where workflow_id = any ($2::uuid[])", [metadata, ids]);
  }
}

/** What a watch said so far. */
class Seen {
  readonly notes = new Map<string, string | undefined>();
  readonly deleted: string[] = [];
  readonly cases: string[] = [];
  error: unknown;

  add(message: WatchMessage): void {
    this.cases.push(message.kind);
    if (message.kind !== "workflows") return;
    for (const { workflowId, metadata } of message.batch.workflows)
      this.notes.set(workflowId, metadata["note"]);
    for (const id of message.batch.deleted) {
      this.notes.delete(id);
      this.deleted.push(id);
    }
  }

  get ids(): string[] {
    return [...this.notes.keys()].toSorted();
  }

  async live(): Promise<this> {
    await until(() => expect(this.cases).toContain("snapshot_complete"));
    return this;
  }
}

async function readToLive(watch: AsyncGenerator<WatchMessage>): Promise<void> {
  for (;;) {
    const { value } = await watch.next();
    if (value?.kind === "snapshot_complete") return;
  }
}

describe("nothing falls between", () => {
  test("the subscription, the snapshot and the live changes", async () => {
    const world = await new World().open();
    const store = world.changes;
    const made: Record<string, string> = {};
    const make = async (when: string) => {
      [made[when]] = (await world.create()) as [string];
    };
    let reads = 0;
    world.changes = {
      ...store,
      async readNewest(request) {
        const read = ["the source", "the snapshot"][reads++] ?? "more";
        await make(`before ${read}`);
        const page = await store.readNewest(request);
        await make(`after ${read}`);
        return page;
      },
    };
    const seen = await world.follow().live();
    await until(() => expect(seen.ids).toEqual(Object.values(made).toSorted()));
    expect(Object.keys(made)).toHaveLength(4);
  });

  test("a change that commits after later ones: its transaction was open all the while", async () => {
    const world = await new World().open();
    const [early = ""] = await world.create();
    const late = await database.connect();
    await late.query("begin");
    await world.touch([early], "late", late);
    const [born = ""] = await world.create(1, late);
    const seen = await world.follow().live();
    // Several looks at the database, each of which sees later transactions committed.
    const others: string[] = [];
    for (let i = 0; i < 3; i++) {
      const [other = ""] = await world.create();
      others.push(other);
      await until(() => expect(seen.notes.has(other)).toBe(true));
    }
    expect(seen.notes.get(early)).toBeUndefined();
    expect(seen.notes.has(born)).toBe(false);
    await late.query("commit");
    await until(() => expect(seen.notes.get(early)).toBe("late"));
    await until(() => expect(seen.ids).toEqual([early, born, ...others].toSorted()));
  });

  test("what changes between the pages of a snapshot", async () => {
    const world = await new World().open();
    const ids = await world.create(150);
    const large = "x".repeat(15_000);
    await world.touch(ids, large);
    const watch = world.watch({ snapshotSize: 1000 });
    const seen = new Seen();
    seen.add((await watch.next()).value);
    expect(seen.notes.size).toBeLessThan(100); // 1 MiB
    await world.touch(ids, "changed");
    const [fresh = ""] = await world.create();
    while (seen.notes.size < 151 || [...seen.notes.values()].includes(large))
      seen.add((await watch.next()).value);
    expect(seen.ids).toEqual([...ids, fresh].toSorted());
    await watch.return(undefined);
  });

  test("states do not go back either when a page of the snapshot is newer than what is in the window", async () => {
    const world = await new World().open();
    const store = world.changes;
    const ids = await world.create(150);
    await world.touch(ids, "x".repeat(15_000));
    const other = await world.follow({ snapshotSize: 1000 }).live();
    const watch = world.watch({ snapshotSize: 1000 });
    await watch.next();
    await world.touch(ids, "1");
    await until(() => expect(new Set(other.notes.values())).toEqual(new Set(["1"])));
    world.changes = {
      ...store,
      readChanges: () => Promise.reject(new StoreError("away", "held", undefined)),
    };
    await world.touch(ids, "2");
    const told = new Map<string, string[]>(ids.map((id) => [id, []]));
    const note = async () => {
      const { value } = await watch.next();
      if (value.kind !== "workflows") return;
      for (const { workflowId, metadata } of value.batch.workflows)
        told.get(workflowId)?.push(metadata["note"] ?? "");
    };
    // The rest of the snapshot, its end, and what is in the window.
    while (!ids.every((id) => told.get(id)?.includes("1") === true || told.get(id)?.includes("2") === true))
      await note();
    world.changes = store;
    while (!ids.every((id) => told.get(id)?.at(-1) === "2")) await note();
    for (const states of told.values()) expect(states).toEqual(states.toSorted());
    await watch.return(undefined);
  });

  test("a tree that was deleted and made anew between two looks is alive", async () => {
    const world = await new World().open();
    const [id = ""] = await world.create();
    const seen = await world.follow().live();
    const store = world.changes;
    world.changes = {
      ...store,
      readChanges: () => Promise.reject(new StoreError("away", "held", undefined)),
    };
    await commit([close(await streamOf(id), id)]);
    await deleteTree(id);
    const again = create(newId(), { workflowId: id, tenant: world.tenant });
    await commit([again]);
    await world.touch([id], "anew");
    world.changes = store;
    await until(() => expect(seen.notes.get(id)).toBe("anew"));
    expect(seen.deleted).toEqual([]);
  });

  test("also one of more trees than are told at once", async () => {
    const world = await new World().open();
    const ids = await world.create(30);
    const again = ids[25] as string;
    const seen = await world.follow().live();
    const store = world.changes;
    world.changes = away(store);
    for (const id of ids) await deleteTree(id);
    const anew = create(newId(), { workflowId: again, tenant: world.tenant });
    await commit([anew]);
    await world.touch([again], "anew");
    world.changes = store;
    await until(() => expect(new Set(seen.deleted).size).toBeGreaterThanOrEqual(29));
    await until(() => expect(seen.notes.get(again)).toBe("anew"));
    const [fresh = ""] = await world.create();
    await until(() => expect(seen.ids).toEqual([again, fresh].toSorted()));
  });

  test("nor is it deleted once more when a later page of its round fails", async () => {
    const world = await new World().open();
    const ids = await world.create(30);
    const [again = ""] = ids;
    const seen = await world.follow().live();
    const store = world.changes;
    world.changes = away(store);
    for (const id of ids) await deleteTree(id);
    const anew = create(newId(), { workflowId: again, tenant: world.tenant });
    await commit([anew]);
    const others = await world.create(1200);
    let pages = 0;
    world.changes = {
      ...store,
      readChanges: (...request) =>
        ++pages === 4
          ? Promise.reject(new StoreError("away", "held", undefined))
          : store.readChanges(...request),
    };
    await until(() => expect(seen.ids).toEqual([again, ...others].toSorted()));
    expect(pages).toBeGreaterThan(4);
    expect(seen.deleted.filter((id) => id === again).length).toBeLessThanOrEqual(1);
  });

  test("states do not go back: what the source read before the snapshot comes too late", async () => {
    const world = await new World().open();
    const store = world.changes;
    const [id = ""] = await world.create();
    await world.follow().live();
    let hold = false;
    const held = Promise.withResolvers<void>();
    const isHeld = Promise.withResolvers<void>();
    world.changes = {
      ...store,
      async readChanges(...request) {
        const page = await store.readChanges(...request);
        if (hold && (page?.changes.length ?? 0) > 0) {
          isHeld.resolve();
          await held.promise;
        }
        return page;
      },
    };
    hold = true;
    await world.touch([id], "1");
    await isHeld.promise; // the source has read state 1 and not told it
    await world.touch([id], "2");
    const states: string[] = [];
    const watch = world.watch();
    for (;;) {
      const { value } = await watch.next();
      if (value.kind === "workflows") states.push(value.batch.workflows[0]?.metadata["note"] ?? "");
      if (value.kind === "snapshot_complete") break;
    }
    held.resolve();
    hold = false;
    await world.touch([id], "3");
    const next = await watch.next();
    if (next.value.kind === "workflows") states.push(next.value.batch.workflows[0]?.metadata["note"] ?? "");
    expect(states).toEqual(["2", "3"]);
    await watch.return(undefined);
  });
});

describe("a watcher that does not read", () => {
  test("is told the newest state of all it missed, deletions too, from the store, and costs no memory", {
    timeout: 60_000,
  }, async () => {
    const world = await new World().open();
    const ids = await world.create(1500);
    const [gone = "", ...rest] = ids;
    const watch = world.watch({ snapshotSize: 1000 });
    await readToLive(watch);
    const other = await world.follow().live();
    // More changes than the window keeps.
    for (const note of ["1", "2", "3", "4"]) {
      await world.touch(ids, note);
      await until(() =>
        expect([...other.notes.values()].filter((found) => found === note)).toHaveLength(1500),
      );
    }
    await database.pool.query("delete from event where workflow_id = $1", [gone]);
    await commit([close(await streamOf(gone), gone)]);
    await deleteTree(gone);
    const [fresh = ""] = await world.create();
    await until(() => expect(other.notes.has(fresh)).toBe(true));
    const live = await world.watches.acquire(world.tenant);
    expect(live.head - [...serials(live)].length).toBeGreaterThan(0);
    expect([...serials(live)].length).toBeLessThanOrEqual(limits.watchWindowEntries);
    world.watches.release(world.tenant, live);
    const seen = new Seen();
    let messages = 0;
    while (!seen.notes.has(fresh) || !seen.deleted.includes(gone)) {
      const { value } = await watch.next();
      seen.add(value);
      messages++;
    }
    expect(seen.ids).toEqual([...rest, fresh].toSorted());
    expect(new Set(rest.map((id) => seen.notes.get(id)))).toEqual(new Set(["4"]));
    // Its newest states, not each one on the way.
    expect(messages).toBeLessThanOrEqual(6);
    // And it is in the window again.
    await world.touch([fresh], "live");
    const { value } = await watch.next();
    expect(value).toMatchObject({
      batch: { workflows: [{ workflowId: fresh, metadata: { note: "live" } }] },
    });
    await watch.return(undefined);
  });

  test("gets what waits for it in the window in messages of at most 1 MiB", async () => {
    const world = await new World().open();
    const ids = await world.create(150);
    const watch = world.watch({ snapshotSize: 1 });
    await readToLive(watch);
    const other = await world.follow({ snapshotSize: 1 }).live();
    const large = "x".repeat(15_000);
    await world.touch(ids, large);
    await until(() => expect([...other.notes.values()].filter((note) => note === large)).toHaveLength(150));
    const counts: number[] = [];
    while (counts.reduce((all, count) => all + count, 0) < 150) {
      const { value } = await watch.next();
      if (value.kind === "workflows") counts.push(value.batch.workflows.length);
    }
    expect(Math.max(...counts) * large.length).toBeLessThan(limits.batchBytes);
    expect(counts.length).toBeLessThan(5);
    await watch.return(undefined);
  });

  test("is ended by an error when deletions may be forgotten", { timeout: 60_000 }, async () => {
    const world = await new World().open();
    const store = world.changes;
    await world.create();
    const watch = world.watch();
    await readToLive(watch);
    world.changes = { ...store, readChanges: () => Promise.resolve(undefined) };
    await expect(watch.next()).rejects.toMatchObject({ code: "aborted" });
    // The next one begins anew.
    world.changes = store;
    const seen = await world.follow().live();
    const [id = ""] = await world.create();
    await until(() => expect(seen.notes.has(id)).toBe(true));
  });
});

test("changes are read in rounds of pages, each once, also those that change meanwhile", async () => {
  const world = await new World().open();
  const { now } = await world.changes.readNewest({
    tenant: world.tenant,
    rootsOnly: false,
    size: 1,
    asOf: undefined,
    before: undefined,
  });
  const ids = await world.create(1200);
  let position = now;
  const rounds: Change[][] = [[]];
  for (let page = 0; ; page++) {
    const found = await world.changes.readChanges(world.tenant, false, position);
    if (found === undefined) throw new Error("forgotten");
    rounds.at(-1)?.push(...found.changes);
    position = found.next;
    if (page === 0) await world.touch([ids[1199] as string, ids[0] as string], "meanwhile");
    if (found.complete && rounds.at(-1)?.length === 0) break;
    if (found.complete) rounds.push([]);
  }
  const idsOf = (changes: readonly Change[] = []) =>
    changes.map((change) => (change.kind === "changed" ? change.workflow.workflowId : ""));
  // All were created by few transactions: the order within is that of the ids.
  expect(new Set(idsOf(rounds[0])).size).toBe(idsOf(rounds[0]).length);
  expect(new Set([...idsOf(rounds[0]), ...idsOf(rounds[1])])).toEqual(new Set(ids));
  expect(idsOf(rounds[1]).toSorted()).toEqual([ids[0], ids[1199]].toSorted());
  expect(rounds).toHaveLength(3);
});

test("in a round all deletions come before the first change", async () => {
  const world = await new World().open();
  const ids = await world.create(30);
  const again = ids[25] as string;
  const { now } = await newest(world);
  for (const id of ids) await deleteTree(id);
  const anew = create(newId(), { workflowId: again, tenant: world.tenant });
  await commit([anew]);
  const told: Change[] = [];
  for (let position = now; ; ) {
    const page = await world.changes.readChanges(world.tenant, false, position);
    told.push(...(page?.changes ?? []));
    if (page === undefined || page.complete) break;
    position = page.next;
  }
  expect(told.map(({ kind }) => kind)).toEqual([...ids.map(() => "deleted"), "changed"]);
});

test.each(["force_custom_plan", "force_generic_plan"])(
  "what came from another cluster's dump is not read at each look, with %s",
  async (planCacheMode) => {
    const world = await new World().open();
    await database.pool.query(
      `with s as (insert into stream (stream_id, tenant_slug, kind)
                  select gen_random_uuid(), $1, 1 from generate_series(1, 3000) returning stream_id)
       insert into workflow (workflow_id, tenant_slug, stream_id, path, depth, name, metadata, created_ms,
                             created_offset, changed_xid)
       select stream_id, $1, stream_id, array[stream_id], 0, 'n', '{}', 1, 1, '500000000' from s`,
      [world.tenant],
    );
    await database.pool.query(
      `insert into workflow_deletion (tenant_slug, root_workflow_id, workflow_ids, deleted_xid)
       select $1, id, array[id], '500000000' from (select gen_random_uuid() as id from generate_series(1, 1000)) as g`,
      [world.tenant],
    );
    await database.pool.query("analyze workflow");
    await database.pool.query("analyze workflow_deletion");
    const { now } = await newest(world);
    const [fresh = ""] = await world.create();
    const client = await database.connect();
    await client.query(`set plan_cache_mode = ${planCacheMode}`);
    let buffers = 0;
    const measured = createPgWorkflowChanges({
      async query({ text, values }: { text: string; values: unknown[] }) {
        const literals = values.map((value) => (value === null ? "null" : pg.escapeLiteral(String(value))));
        await client.query(`prepare look as ${text}`);
        const { rows } = await client.query(
          `explain (analyze, buffers, format json) execute look(${literals.join(", ")})`,
        );
        const { Plan: plan } = rows[0]["QUERY PLAN"][0];
        buffers = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"];
        return client.query(text, values);
      },
    } as never);
    const page = await measured.readChanges(world.tenant, false, now);
    expect(page?.changes).toMatchObject([{ workflow: { workflowId: fresh } }]);
    expect(buffers).toBeGreaterThan(0);
    expect(buffers).toBeLessThan(200);
    await database.pool.query("delete from workflow_deletion where tenant_slug = $1", [world.tenant]);
  },
);

test("a position of long ago, or of a database that was put back since, is not answered", async () => {
  const world = await new World().open();
  const { now } = await world.changes.readNewest({
    tenant: world.tenant,
    rootsOnly: false,
    size: 1,
    asOf: undefined,
    before: undefined,
  });
  const at = (position: Partial<ChangePosition>) =>
    world.changes.readChanges(world.tenant, false, { ...now, ...position });
  const minute = 60_000;
  expect(await at({ sinceMs: now.sinceMs - 9 * minute })).toMatchObject({ complete: true });
  expect(await at({ sinceMs: now.sinceMs - 11 * minute })).toBeUndefined();
  expect(await at({ since: "900000000:900000000:" })).toBeUndefined();
});

test("who deletes removes what is remembered of deletions of long ago, and nothing else", async () => {
  const world = await new World().open();
  const [first = "", second = ""] = await world.create(2);
  for (const id of [first, second]) {
    await commit([close(await streamOf(id), id)]);
    await database.pool.query("update workflow_deletion set deleted_ms = deleted_ms - 16 * 60 * 1000");
    await deleteTree(id);
  }
  const { rows } = await database.pool.query(
    "select root_workflow_id from workflow_deletion where tenant_slug = $1",
    [world.tenant],
  );
  expect(rows.map((row) => row.root_workflow_id)).toEqual([second]);
});

test("after fifteen seconds without a change there is a heartbeat, and another one", async () => {
  const clock = new ManualClock();
  const world = await new World(clock).open();
  const seen = await world.follow().live();
  const beats = () => seen.cases.filter((kind) => kind === "heartbeat").length;
  for (let i = 1; i <= 2; i++) {
    clock.move(14_900);
    await until(() => expect(clock.timers).toBeGreaterThan(0));
    expect(beats()).toBe(i - 1);
    clock.move(101);
    await until(() => expect(beats()).toBe(i));
  }
});

test.each(["fails", "does not answer"])(
  "there are heartbeats also while what a watch needs from the database %s",
  async (how) => {
    const clock = new ManualClock();
    const world = await new World(clock).open();
    const ids = await world.create(150);
    await world.touch(ids, "x".repeat(15_000)); // more than a page of the snapshot
    const store = world.changes;
    const answer = Promise.withResolvers<void>();
    let isAway = true;
    let asked = 0;
    onTestFinished(() => answer.resolve());
    world.changes = {
      ...store,
      async readNewest(request) {
        if (request.before === undefined) return store.readNewest(request);
        asked++;
        if (how === "does not answer") await answer.promise;
        else if (isAway) throw new StoreError("away", "away", undefined);
        return store.readNewest(request);
      },
    };
    const seen = world.follow({ snapshotSize: 1000 });
    await until(() => expect(asked).toBeGreaterThan(0));
    const beats = () => seen.cases.filter((kind) => kind === "heartbeat").length;
    await clock.advance(14_900);
    expect(beats()).toBe(0);
    for (let i = 1; i <= 3; i++) {
      await clock.advance(15_000);
      expect(beats()).toBe(i);
    }
    if (how === "fails") expect(asked).toBeGreaterThan(100); // every half second
    isAway = false;
    answer.resolve();
    await clock.advance(500);
    await until(() => expect(seen.notes.size).toBe(150));
    expect(seen.cases.at(-1)).toBe("snapshot_complete");
  },
);

test("that the database is away is said once, however many tenants are watched; what fails for one tenant as well", async () => {
  const clock = new ManualClock();
  const world = new World(clock);
  const now = { since: "1:1:", sinceMs: 0, round: undefined };
  const errors = new Map<string, Error>();
  const looks = new Map<string, number>();
  world.changes = {
    ...world.changes,
    readNewest: () => Promise.resolve({ workflows: [], more: false, now }),
    readChanges(tenant) {
      looks.set(tenant, (looks.get(tenant) ?? 0) + 1);
      const error = errors.get(tenant);
      return error === undefined
        ? Promise.resolve({ changes: [], next: now, complete: true })
        : Promise.reject(error);
    },
  };
  const tenants = ["a", "b", "c"];
  const lives = await Promise.all(tenants.map((tenant) => world.watches.acquire(tenant)));
  const saidWhile = async (failing: readonly (readonly [string, Error])[]) => {
    errors.clear();
    for (const [tenant, error] of failing) errors.set(tenant, error);
    world.failures.length = 0;
    await clock.advance(10_000);
    return world.failures.length;
  };
  const away = new StoreError("away", "away", undefined);
  expect(await saidWhile([])).toBe(0);
  expect(await saidWhile(tenants.map((tenant) => [tenant, away]))).toBe(1);
  expect(await saidWhile([["a", away]])).toBe(0);
  expect(await saidWhile([])).toBe(0);
  expect(await saidWhile([["b", away]])).toBe(1);
  expect(
    await saidWhile([
      ["b", away],
      ["c", new TypeError("a bug")],
    ]),
  ).toBe(1);
  expect(looks.get("c")).toBeGreaterThan(50);
  // Whoever is let go does not keep it from being said again.
  for (const [i, live] of lives.entries()) world.watches.release(tenants[i] as string, live);
  await clock.advance(1000);
  lives[0] = await world.watches.acquire("a");
  expect(await saidWhile([["a", away]])).toBe(1);
  world.watches.release("a", lives[0]);
  await clock.advance(1000);
});

test("while the database is away a watch stays, and goes on when it is back", async () => {
  const world = await new World().open();
  const store = world.changes;
  const seen = await world.follow().live();
  world.changes = {
    ...store,
    readChanges: () => Promise.reject(new StoreError("away", "away", undefined)),
  };
  const [id = ""] = await world.create();
  await until(() => expect(world.failures.length).toBeGreaterThan(0));
  expect(seen.notes.size).toBe(0);
  world.changes = store;
  await until(() => expect(seen.notes.has(id)).toBe(true));
  expect(seen.error).toBeUndefined();
});

async function streamOf(workflowId: string): Promise<string> {
  const { rows } = await database.pool.query("select stream_id from workflow where workflow_id = $1", [
    workflowId,
  ]);
  return rows[0].stream_id;
}

async function deleteTree(workflowId: string): Promise<void> {
  const streamId = await streamOf(workflowId);
  await database.pool.query("delete from event where stream_id = $1", [streamId]);
  await database.pool.query("delete from workflow where stream_id = $1", [streamId]);
  await database.pool.query("delete from stream where stream_id = $1", [streamId]);
}

const newest = ({ changes, tenant }: World) =>
  changes.readNewest({ tenant, rootsOnly: false, size: 1, asOf: undefined, before: undefined });

const away = (store: WorkflowChangeStore): WorkflowChangeStore => ({
  ...store,
  readChanges: () => Promise.reject(new StoreError("away", "held", undefined)),
});

/** The serials that are in the window. */
function* serials(live: { readonly head: number; has(serial: number): boolean }): Generator<number> {
  for (let serial = 0; serial < live.head; serial++) if (live.has(serial)) yield serial;
}
