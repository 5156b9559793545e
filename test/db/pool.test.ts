/** Connections of the pool that break. */
import { expect, test } from "vitest";
import { ConnectionFailure, createPool } from "../../db/pool.ts";
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
  await expect(client.query("commit")).rejects.toThrow(ConnectionFailure);
  client.release(true);
  expect((await pool.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  await pool.end();
});

test("a database that cannot be reached fails a transaction at its beginning, by name", async () => {
  const url = new URL(database.url);
  url.port = "1";
  const limits = { poolSize: 2, connectTimeoutMs: 5000, statementTimeoutMs: 5000, onError: () => {} };
  const pool = createPool({ url: url.href, ...limits });
  await expect(pool.connect()).rejects.toThrow(ConnectionFailure);
  await expect(pool.query("select 1")).rejects.toThrow(ConnectionFailure);
  await pool.end();
});
