/** A migrated database of its own for a test file, without a server. */
import { randomUUID } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, expect, inject } from "vitest";
import { findOrphans } from "../../db/statements/find-orphans.ts";
import { createTestDatabase, type TestDatabase } from "./cluster.ts";
import { template } from "./global-setup.ts";

export interface DatabaseForTests {
  readonly url: string;
  readonly pool: pg.Pool;
  /** A connection of its own; closed in the teardown. */
  connect(): Promise<pg.Client>;
}

export function useDatabase(): DatabaseForTests {
  let database: TestDatabase;
  let pool: pg.Pool;
  const clients: pg.Client[] = [];
  beforeAll(async () => {
    database = await createTestDatabase(inject("clusterUrl"), { template });
    pool = new pg.Pool({ connectionString: database.url, max: 4 });
    pool.on("error", () => {}); // tests end connections on purpose
    await pool.query("insert into tenant (slug) values ('acme'), ('globex')");
  });
  afterAll(async () => {
    expect(await findOrphans(pool)).toEqual([]);
    await Promise.all(clients.map((client) => client.end()));
    await pool.end(); // the database stays until the cluster goes, as in server.ts
  });
  return {
    get url() {
      return database.url;
    },
    get pool() {
      return pool;
    },
    async connect() {
      const client = new pg.Client({ connectionString: database.url });
      client.on("error", () => {});
      await client.connect();
      clients.push(client);
      return client;
    },
  };
}

/** Waits until `count` connections of this database wait for a lock. */
export async function waitingForLock(pool: Pick<pg.Pool, "query">, count = 1): Promise<void> {
  const { rows } = await pool.query(
    "select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  );
  if (rows[0].n < count) throw new Error(`${rows[0].n} of ${count} connections wait for a lock`);
}

export const newId = () => randomUUID();
