/** What a sweep finds, takes and leaves, and that it looks at nothing else; see db/migrations/0008_retention.sql. */
import type pg from "pg";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { append } from "../../db/statements/append.ts";
import { hideEntries } from "../../db/statements/delete-tree.ts";
import { deleteBatch, raiseFloors } from "../../db/statements/retention.ts";
import type { Command } from "../../server/core/command.ts";
import { EventType, noWorkflow } from "../../server/core/event.ts";
import { toAppendGroup } from "../../server/store/append-group.ts";
import { anEvent, attach, close, create, entries } from "../support/commands.ts";
import { newId, useDatabase, waitingForLock } from "../support/database.ts";
import { until } from "../support/until.ts";

const database = useDatabase();
let client: pg.Client;
beforeAll(async () => {
  client = await database.connect();
});
// A tenant of its own, so that no test's trees are due in another one.
let tenant = "";
beforeEach(async () => {
  tenant = `t${newId().slice(0, 8)}`;
  await database.pool.query("insert into tenant (slug) values ($1)", [tenant]);
});

const run = (...commands: Command[]) => append(client, toAppendGroup(commands));
const publish = (stream: string, count: number, workflowId = stream) =>
  run(
    entries(
      stream,
      Array.from({ length: count }, () => anEvent({ workflowId })),
    ),
  );

async function aTree(
  retention: { retentionMaxAgeMs?: number; retentionMaxEvents?: number } = {},
): Promise<string> {
  const stream = newId();
  await run(create(stream, { workflowId: stream, tenant, ...retention }));
  return stream;
}

const set = (column: "retention_ms" | "retention_events", value: number, slug = tenant) =>
  database.pool.query(`update tenant set ${column} = $2 where slug = $1`, [slug, value]);

/** All there is to do; how many batches it took. */
async function sweep(streams = 100, rows = 1000): Promise<{ batches: number; trimmed: number }> {
  let trimmed = 0;
  for (let batches = 1; ; batches++) {
    const raised = await raiseFloors(database.pool, streams, false);
    const deleted = await deleteBatch(database.pool, rows, 100);
    expect([raised.busy, deleted.busy]).toEqual([false, false]);
    trimmed += raised.trimmed.reduce((sum, { entries: n }) => sum + n, 0);
    if (!raised.more && !deleted.more) return { batches, trimmed };
  }
}

async function stateOf(stream: string): Promise<{ floor: number; offsets: number[] }> {
  const { rows } = await database.pool.query(
    `select coalesce((select floor_offset from stream_floor where stream_id = $1), 0)::int as floor,
            array(select "offset"::int from event where stream_id = $1 order by 1) as offsets`,
    [stream],
  );
  return rows[0];
}

describe("by count", () => {
  test("the newest of an open tree stay", async () => {
    const stream = await aTree({ retentionMaxEvents: 3 });
    await publish(stream, 2);
    await sweep();
    expect(await stateOf(stream)).toEqual({ floor: 0, offsets: [1, 2, 3] });
    await publish(stream, 2);
    expect((await sweep()).trimmed).toBe(2);
    expect(await stateOf(stream)).toEqual({ floor: 2, offsets: [3, 4, 5] });
    await publish(stream, 1);
    await sweep();
    expect(await stateOf(stream)).toEqual({ floor: 3, offsets: [4, 5, 6] });
  });

  test("a tree's own limit comes before the tenant's, also 0", async () => {
    await set("retention_events", 2);
    const trees = [
      await aTree({ retentionMaxEvents: 0 }),
      await aTree({ retentionMaxEvents: 4 }),
      await aTree(),
    ];
    for (const stream of trees) await publish(stream, 9);
    await sweep();
    expect(await Promise.all(trees.map(async (stream) => (await stateOf(stream)).floor))).toEqual([0, 6, 8]);
  });

  test("a new limit of the tenant comes to all its trees, and to no other tenant's", async () => {
    const trees: string[] = [];
    while (trees.length < 25) trees.push(await aTree());
    for (const stream of trees) await publish(stream, 4);
    const own = tenant;
    tenant = "globex";
    const foreign = await aTree();
    await publish(foreign, 4);
    await sweep();
    await set("retention_events", 2, own);
    expect((await sweep(10)).batches, "ten at a time").toBeGreaterThan(2);
    for (const stream of trees) expect((await stateOf(stream)).floor).toBe(3);
    expect((await stateOf(foreign)).floor).toBe(0);
    await set("retention_events", 0, own);
    await publish(trees[0] as string, 4);
    await sweep();
    expect((await stateOf(trees[0] as string)).floor, "a floor never sinks").toBe(3);
  });

  test("a root that is made while its tenant's limit changes gets the new one, whoever commits first", async () => {
    const [changing, creating] = [await database.connect(), await database.connect()];
    for (const first of ["change", "root"]) {
      const stream = newId();
      await set("retention_events", 0);
      await sweep();
      const change = () => changing.query("update tenant set retention_events = 2 where slug = $1", [tenant]);
      const make = () => append(creating, toAppendGroup([create(stream, { workflowId: stream, tenant })]));
      const [one, other] = first === "change" ? [changing, creating] : [creating, changing];
      await one.query("begin");
      await (first === "change" ? change() : make());
      const later = first === "change" ? make() : change();
      await until(() => waitingForLock(database.pool));
      await one.query("commit");
      await later;
      expect(other).toBeDefined();
      await publish(stream, 5);
      await sweep();
      expect((await stateOf(stream)).floor, `${first} first`).toBe(4);
    }
  });

  test("a stream whose writer has it locked is passed by, or waited for", async () => {
    const stream = await aTree({ retentionMaxEvents: 1 });
    await publish(stream, 4);
    const writer = await database.connect();
    await writer.query("begin");
    await append(writer, toAppendGroup([entries(stream, [anEvent({ workflowId: stream })])]));
    expect(await raiseFloors(database.pool, 100, false)).toMatchObject({ left: true, trimmed: [] });
    const patient = raiseFloors(database.pool, 100, true);
    await until(() => waitingForLock(database.pool));
    await writer.query("commit");
    expect((await patient).trimmed).toEqual([{ tenant_slug: tenant, streams: 1, entries: 5 }]);
    await sweep();
    expect(await stateOf(stream)).toEqual({ floor: 5, offsets: [6] });
  });

  test("whoever waits has nothing else locked", async () => {
    const [due, ended] = [await aTree({ retentionMaxEvents: 1 }), await aTree({ retentionMaxAgeMs: 60_000 })];
    await publish(due, 5);
    await run(close(ended, ended));
    await database.pool.query("update closed_tree set closed_ms = 0 where stream_id = $1", [ended]);
    await set("retention_events", 1);
    const writer = await database.connect();
    await writer.query("begin");
    const lock = "select from stream where stream_id = $1 for update";
    await writer.query(lock, [due]);
    await database.pool.query("update retention_due set noted_ms = 0 where stream_id = $1", [due]);
    const patient = raiseFloors(database.pool, 100, true);
    await until(() => waitingForLock(database.pool));
    await writer.query(`${lock} nowait`, [ended]);
    await writer.query("commit");
    expect((await patient).trimmed).toEqual([{ tenant_slug: tenant, streams: 1, entries: 5 }]);
    await sweep();
    expect((await stateOf(ended)).offsets).toEqual([]);
  });

  test("streams that are written without a pause do not keep others from being trimmed", async () => {
    const streams: string[] = [];
    for (let i = 0; i < 6; i++) streams.push(await aTree({ retentionMaxEvents: 1 }));
    for (let round = 0; round < 3; round++) {
      for (const stream of streams) await publish(stream, 1);
      await raiseFloors(database.pool, 2, false);
    }
    const floors = [];
    for (const stream of streams) floors.push((await stateOf(stream)).floor);
    expect(floors.filter((floor) => floor === 0)).toEqual([]);
    await sweep();
  });

  test("a walk through a tenant's trees and a writer of two of them do not wait for each other", async () => {
    const [first, second] = [await aTree(), await aTree()];
    await set("retention_events", 3);
    await sweep();
    await set("retention_events", 2);
    const writer = await database.connect();
    await writer.query("begin");
    const write = (stream: string) =>
      append(
        writer,
        toAppendGroup([
          entries(
            stream,
            [1, 2, 3].map(() => anEvent({ workflowId: stream })),
          ),
        ]),
      );
    await write(second);
    expect(await raiseFloors(database.pool, 100, false)).toMatchObject({ left: true });
    await write(first);
    await writer.query("commit");
    await sweep();
    for (const stream of [first, second]) expect((await stateOf(stream)).offsets).toEqual([3, 4]);
  });
});

describe("by age", () => {
  const age = (stream: string, ms: number) =>
    database.pool.query("update closed_tree set closed_ms = closed_ms - $2 where stream_id = $1", [
      stream,
      ms,
    ]);

  test("a tree is trimmed whole once the last of its workflows has been closed for so long", async () => {
    await set("retention_ms", 60_000);
    const stream = await aTree();
    const child = newId();
    await run(create(stream, { workflowId: child, parentWorkflowId: stream, tenant }));
    await run(close(stream, stream));
    await publish(stream, 3, child);
    await sweep();
    expect((await stateOf(stream)).floor, "a child is open").toBe(0);
    await run(close(stream, child));
    await age(stream, 30_000);
    await sweep();
    expect((await stateOf(stream)).floor, "not long enough").toBe(0);
    await age(stream, 31_000);
    expect((await sweep()).trimmed).toBe(7);
    expect(await stateOf(stream)).toEqual({ floor: 7, offsets: [] });
    const { rows } = await database.pool.query("select status from workflow where stream_id = $1", [stream]);
    expect(rows, "the registry stays").toEqual([{ status: 2 }, { status: 2 }]);
  });

  test("a tree's own age comes before the tenant's; 0 keeps", async () => {
    await set("retention_ms", 60_000);
    const trees = [
      await aTree({ retentionMaxAgeMs: 0 }),
      await aTree({ retentionMaxAgeMs: 10_000 }),
      await aTree({ retentionMaxAgeMs: 90_000 }),
      await aTree(),
    ];
    for (const stream of trees) {
      await run(close(stream, stream));
      await age(stream, 50_000);
    }
    const floors = () => Promise.all(trees.map(async (stream) => (await stateOf(stream)).floor));
    await sweep();
    expect(await floors()).toEqual([0, 2, 0, 0]);
    await set("retention_ms", 40_000);
    await sweep();
    expect(await floors(), "at the next sweep").toEqual([0, 2, 0, 2]);
  });

  test("what was there before there was retention is looked through once", async () => {
    const [open, ended, limited] = [await aTree(), await aTree(), await aTree()];
    for (const stream of [open, ended, limited]) await publish(stream, 4);
    await run(close(ended, ended));
    // As the migration finds it.
    await database.pool.query("delete from closed_tree where tenant_slug = $1", [tenant]);
    await database.pool.query("update workflow set retention_max_events = 2 where workflow_id = $1", [
      limited,
    ]);
    await database.pool.query("insert into retention_walk (tenant_slug) values ($1)", [tenant]);
    await sweep();
    await set("retention_ms", 1);
    await until(async () => {
      await sweep();
      expect((await stateOf(ended)).floor).toBe(6);
    });
    expect(await stateOf(open)).toMatchObject({ floor: 0 });
    expect(await stateOf(limited)).toEqual({ floor: 3, offsets: [4, 5] });
  });
});

describe("spaces", () => {
  async function aSpace(maxAgeMs: number, maxObservations: number) {
    const [stream, session] = [newId(), newId()];
    await database.pool.query("insert into stream (stream_id, tenant_slug, kind) values ($1, $2, 2)", [
      stream,
      tenant,
    ]);
    await database.pool.query(
      `insert into memory_space (tenant_slug, space, stream_id, retention_max_age_ms, retention_max_observations)
       values ($1, $2, $3, $4, $5)`,
      [tenant, `s${newId().slice(0, 8)}`, stream, maxAgeMs, maxObservations],
    );
    await run({ ...attach(stream, undefined, session), tenant });
    let sequence = 0;
    const observe = (count: number) =>
      run({
        ...entries(
          stream,
          Array.from({ length: count }, () =>
            anEvent({
              workflowId: noWorkflow,
              taskExecutionId: "",
              producerId: session,
              sequence: ++sequence,
              type: EventType.OBSERVATION,
              observation: {
                observationId: `o${sequence}`,
                metadata: "{}",
                confidence: 1,
                importance: 1,
                observedMs: 7,
              },
            }),
          ),
        ),
        session: { epoch: 1 },
      });
    const observations = async () =>
      (
        await database.pool.query(
          `select array(select "offset"::int from observation where stream_id = $1 order by 1) as o`,
          [stream],
        )
      ).rows[0].o;
    return { stream, observe, observations };
  }

  test("keep their newest, and what goes, goes with its observation", async () => {
    const space = await aSpace(0, 2);
    await space.observe(5);
    await sweep();
    expect(await stateOf(space.stream)).toEqual({ floor: 3, offsets: [4, 5] });
    expect(await space.observations()).toEqual([4, 5]);
    await database.pool.query("update memory_space set retention_max_observations = 1 where stream_id = $1", [
      space.stream,
    ]);
    await sweep();
    expect(await space.observations()).toEqual([5]);
  });

  test("keep what is young, by when it was recorded, and are not looked at before the oldest is too old", async () => {
    const space = await aSpace(60_000, 0);
    await space.observe(3);
    const shift = (upTo: number, ms: number) =>
      database.pool.query(
        `update event set recorded_ms = recorded_ms - $3 where stream_id = $1 and "offset" <= $2`,
        [space.stream, upTo, ms],
      );
    await shift(3, 50_000);
    await sweep();
    await shift(2, 20_000);
    await sweep();
    expect((await stateOf(space.stream)).floor, "its time has not come").toBe(0);
    await database.pool.query("update memory_space set expiry_ms = 1 where stream_id = $1", [space.stream]);
    await sweep();
    expect(await space.observations()).toEqual([3]);
    await database.pool.query("update memory_space set retention_max_age_ms = 40000 where stream_id = $1", [
      space.stream,
    ]);
    await sweep();
    expect(await space.observations(), "a change is looked at at once").toEqual([]);
  });

  test("a retention that is being changed while a sweep looks is looked at again", async () => {
    const space = await aSpace(0, 4);
    await space.observe(5);
    const changer = await database.connect();
    await changer.query("begin");
    await changer.query("update memory_space set retention_max_observations = 2 where stream_id = $1", [
      space.stream,
    ]);
    await sweep();
    await changer.query("commit");
    await sweep();
    expect(await space.observations()).toEqual([4, 5]);
  });
});

test("a tree may be deleted while a sweep trims it", async () => {
  const stream = await aTree();
  await publish(stream, 3);
  await run(close(stream, stream));
  const sweeper = await database.connect();
  await sweeper.query("begin");
  await sweeper.query("select from stream where stream_id = $1 for update", [stream]);
  const hidden = hideEntries(database.pool, stream);
  await until(() => waitingForLock(database.pool));
  await sweeper.query("select retention_set_floors(array[$1::uuid], array[2])", [stream]);
  await sweeper.query("commit");
  await hidden;
  expect((await stateOf(stream)).floor).toBe(5);
  await sweep();
});

test("a batch deletes no more than it may, and what a dead sweep left is found by the next", async () => {
  const stream = await aTree({ retentionMaxEvents: 1 });
  await publish(stream, 24);
  await raiseFloors(database.pool, 100, false);
  expect(await deleteBatch(database.pool, 10, 100)).toEqual({ busy: false, deleted: 10, more: true });
  expect(await stateOf(stream)).toMatchObject({
    floor: 24,
    offsets: Array.from({ length: 15 }, (_, i) => i + 11),
  });
  expect(await deleteBatch(database.pool, 10, 100)).toMatchObject({ deleted: 10, more: true });
  expect(await deleteBatch(database.pool, 10, 100)).toEqual({ busy: false, deleted: 4, more: false });
  expect(await stateOf(stream)).toEqual({ floor: 24, offsets: [25] });
});

test("of two instances that look at once, one is told that the other is at it", async () => {
  const stream = await aTree({ retentionMaxEvents: 1 });
  await publish(stream, 4);
  const other = await database.connect();
  await other.query("begin");
  expect(await raiseFloors(other, 100, false)).toMatchObject({ busy: false });
  expect(await raiseFloors(database.pool, 100, false)).toMatchObject({ busy: true, trimmed: [] });
  expect(await deleteBatch(database.pool, 100, 100)).toMatchObject({ busy: true, deleted: 0 });
  await other.query("rollback");
  expect((await sweep()).trimmed).toBe(4);
});

test("a stream that came over its limit after the round began is left for the next one", async () => {
  const [early, late] = [await aTree({ retentionMaxEvents: 1 }), await aTree({ retentionMaxEvents: 1 })];
  await publish(early, 2);
  const { now } = await raiseFloors(database.pool, 100, false);
  await publish(early, 2);
  await publish(late, 2);
  await database.pool.query("update retention_due set noted_ms = $1 where stream_id = $2", [now, early]);
  await database.pool.query("update retention_due set noted_ms = $1 where stream_id = $2", [now + 1, late]);
  expect(await raiseFloors(database.pool, 100, false, now)).toMatchObject({ left: false });
  expect(await stateOf(late)).toMatchObject({ floor: 0 });
  expect((await stateOf(early)).floor).toBeGreaterThan(2);
  expect(await raiseFloors(database.pool, 100, true, now)).toMatchObject({ trimmed: [] });
  await sweep();
  expect((await stateOf(late)).floor).toBeGreaterThan(0);
});

test("what is stored once stays stored once: a producer's numbers outlive its entries", async () => {
  const stream = await aTree({ retentionMaxEvents: 1 });
  const send = (sequence: number) =>
    run(entries(stream, [anEvent({ workflowId: stream, producerId: "p", sequence })]));
  for (const sequence of [1, 2, 3]) await send(sequence);
  await sweep();
  expect((await send(2)).decisions).toEqual([2]);
  expect((await send(4)).decisions).toBeUndefined();
});

test("a sweep reads no more beside ten thousand trees that keep everything", async () => {
  const read = async () => {
    await client.query("select pg_stat_force_next_flush()");
    const { rows } = await client.query(
      "select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::int as n from pg_stat_user_tables",
    );
    return rows[0].n as number;
  };
  // The least of some: other connections report what they did before now and then.
  const cost = async () => {
    const costs: number[] = [];
    for (let i = 0; i < 5; i++) {
      const before = await read();
      await raiseFloors(client, 100, false);
      await deleteBatch(client, 100, 100);
      costs.push((await read()) - before);
    }
    return Math.min(...costs);
  };
  await sweep();
  const alone = await cost();
  for (let group = 0; group < 10; group++) {
    const trees = Array.from({ length: 1000 }, newId);
    await run(...trees.map((id) => create(id, { workflowId: id, tenant })));
    await run(...trees.map((id) => close(id, id)));
  }
  await client.query("analyze");
  expect(await cost()).toBeLessThanOrEqual(alone + 5);
});
