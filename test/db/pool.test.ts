/** Connections of the pool that break. */
import { expect, test } from "vitest";
import { createPool } from "../../db/pool.ts";
import { useDatabase } from "../support/database.ts";

const database = useDatabase();

test("a connection that breaks within a transaction fails the transaction, and ends no process", async () => {
  const pool = createPool({
    url: database.url,
    poolSize: 2,
    connectTimeoutMs: 5000,
    statementTimeoutMs: 5000,
    onError: () => {},
  });
  const client = await pool.connect();
  const ended = new Promise<void>((resolve) => client.once("end", resolve));
  await client.query("begin");
  const { rows } = await client.query("select pg_backend_pid() as pid");
  await database.pool.query("select pg_terminate_backend($1)", [rows[0].pid]);
  await ended;
  await expect(client.query("commit")).rejects.toThrow();
  client.release(true);
  expect((await pool.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  await pool.end();
});
