/** After a restore, where the database's user may not ask Postgres which cluster it is. */
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { afterRestore, findRestore } from "../../db/restored.ts";
import { append } from "../../db/statements/append.ts";
import { toAppendGroup } from "../../server/store/append-group.ts";
import { create } from "../support/commands.ts";
import { newId, useDatabase } from "../support/database.ts";

const database = useDatabase();
const user = `plain_${newId().slice(0, 8)}`;
const asked = "pg_control_system(), pg_control_checkpoint()";
beforeAll(async () => {
  await database.pool.query(`create role ${user} login password 'plain'`);
  await database.pool.query(`grant all on all tables in schema public to ${user}`);
  await database.pool.query(`revoke execute on function ${asked} from public`);
});
afterAll(async () => {
  await database.pool.query(`drop owned by ${user}`);
  await database.pool.query(`drop role ${user}`);
});

test("epochs are raised all the same, and no restore is warned of", async () => {
  const url = new URL(database.url);
  url.username = user;
  url.password = "plain";
  const streamId = newId();
  await append(await database.connect(), toAppendGroup([create(streamId, { workflowId: streamId })]));
  const epochOf = async () =>
    Number(
      (await database.pool.query("select epoch from stream where stream_id = $1", [streamId])).rows[0].epoch,
    );
  const before = await epochOf();
  const pool = new pg.Pool({ connectionString: url.href });
  expect(await findRestore(pool)).toBeUndefined();
  await pool.end();
  expect(await afterRestore(url.href, false)).toBe(1);
  expect(await epochOf()).toBeGreaterThan(before);
  expect(await afterRestore(url.href, true)).toBe(0);
});
