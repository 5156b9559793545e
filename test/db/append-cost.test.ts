/**
 * What `append` reads does not grow with the tables: each look-up goes by the whole primary key. Counted in rows that the
 * database fetched, not in time; a plan that was made while the tables were empty is the one that is counted.
 */
import { expect, test } from "vitest";
import { append } from "../../db/statements/append.ts";
import { toAppendGroup } from "../../server/store/append-group.ts";
import { anEvent, attach, create, entries } from "../support/commands.ts";
import { newId, useDatabase } from "../support/database.ts";

const database = useDatabase();

test("a call reads as little beside ten thousand siblings and a hundred thousand ended tasks as alone", async () => {
  const client = await database.connect();
  const streamId = newId();
  const sessionId = newId();
  await append(client, toAppendGroup([create(streamId, { workflowId: streamId })]));
  await append(client, toAppendGroup([attach(streamId, streamId, sessionId)]));
  let sequence = 0;
  const call = () => {
    const events = Array.from({ length: 100 }, () =>
      anEvent({ workflowId: streamId, producerId: sessionId, sequence: ++sequence }),
    );
    return append(client, toAppendGroup([{ ...entries(streamId, events), session: { epoch: 1 } }]));
  };
  /** Rows fetched from the tables that say what depends on a key, in one call. */
  const rowsRead = async () => {
    const before = await fetched();
    expect((await call()).decisions).toBeUndefined();
    return (await fetched()) - before;
  };
  const fetched = async () => {
    await client.query("select pg_stat_force_next_flush()");
    await client.query("select pg_stat_clear_snapshot()");
    const { rows } = await client.query(
      `select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::int as n from pg_stat_user_tables
        where relname in ('workflow', 'task', 'producer', 'stream', 'session')`,
    );
    return rows[0].n as number;
  };
  for (let i = 0; i < 10; i++) await call(); // whatever is planned is planned
  const alone = await rowsRead();
  await client.query(
    `insert into workflow (workflow_id, tenant_slug, stream_id, parent_workflow_id, path, depth, name, metadata, created_offset)
     select id, 'acme', $1::uuid, $1::uuid, array[$1::uuid, id], 1, 'w', '{}', n + 1000000
       from (select gen_random_uuid() as id, n from generate_series(1, 10000) as n) as w`,
    [streamId],
  );
  await client.query(
    `insert into task (workflow_id, task_execution_id, terminal_type, terminal_offset)
     select $1::uuid, 'ended-' || n, 9, n from generate_series(1, 100000) as n`,
    [streamId],
  );
  const among = await rowsRead();
  // They have no events, which the teardown would find.
  await client.query("delete from task");
  await client.query("delete from workflow where workflow_id <> $1", [streamId]);
  expect(among).toBe(alone);
  expect(alone).toBeLessThan(20);
});
