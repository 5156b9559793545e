/**
 * What `append` reads does not grow with the tables: each look-up goes by a whole key. Counted in rows that the database
 * fetched, not in time; a plan that was made while the tables were empty is the one that is counted.
 */
import { expect, test } from "vitest";
import { append } from "../../db/statements/append.ts";
import type { Command } from "../../server/core/command.ts";
import { toAppendGroup } from "../../server/store/append-group.ts";
import { anEvent, attach, close, create, deleteVariable, entries, setVariable } from "../support/commands.ts";
import { newId, useDatabase } from "../support/database.ts";

const database = useDatabase();

const tables = ["workflow", "task", "producer", "stream", "session", "variable"];

test("a call reads as little beside ten thousand siblings and a hundred thousand ended tasks as alone", async () => {
  const client = await database.connect();
  const streamId = newId();
  const sessionId = newId();
  const call = (command: Command) => append(client, toAppendGroup([command]));
  await call(create(streamId, { workflowId: streamId }));
  await call(attach(streamId, streamId, sessionId));
  let sequence = 0;
  const acts: Record<string, () => Promise<unknown>> = {
    async entries() {
      const events = Array.from({ length: 100 }, () =>
        anEvent({ workflowId: streamId, producerId: sessionId, sequence: ++sequence }),
      );
      const { decisions } = await call({ ...entries(streamId, events), session: { epoch: 1 } });
      expect(decisions).toBeUndefined();
    },
    async "a child that is created and closed"() {
      const workflowId = newId();
      await call(create(streamId, { workflowId, parentWorkflowId: streamId }));
      const { opResults } = await call(close(streamId, workflowId));
      expect(opResults).toMatchObject([{ result: "closed" }]);
    },
    async "a variable that is set and deleted"() {
      const { opResults } = await call(setVariable(streamId, streamId, "name"));
      expect(opResults).toMatchObject([{ result: "set" }]);
      await call(deleteVariable(streamId, streamId, "name"));
    },
  };
  const fetched = async () => {
    await client.query("select pg_stat_force_next_flush()");
    await client.query("select pg_stat_clear_snapshot()");
    const { rows } = await client.query(
      `select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::int as n from pg_stat_user_tables
        where relname = any ($1)`,
      [tables],
    );
    return rows[0].n as number;
  };
  const rowsRead = async () => {
    const read: Record<string, number> = {};
    for (const [name, act] of Object.entries(acts)) {
      const before = await fetched();
      await act();
      read[name] = (await fetched()) - before;
    }
    return read;
  };
  for (let i = 0; i < 10; i++) for (const act of Object.values(acts)) await act(); // whatever is planned is planned
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
  await client.query("delete from workflow where created_offset > 1000000");
  expect(among).toEqual(alone);
  for (const rows of Object.values(alone)) expect(rows).toBeLessThan(60);
});
