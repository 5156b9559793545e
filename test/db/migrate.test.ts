/** What a database must be, and what is said when it is not. */
import pg from "pg";
import { expect, inject, test } from "vitest";
import { migrate, UnusableDatabase } from "../../db/migrate.ts";
import { createTestDatabase } from "../support/cluster.ts";

async function withDatabase(run: (url: string, client: pg.Client) => Promise<void>): Promise<void> {
  const database = await createTestDatabase(inject("clusterUrl"));
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    await run(database.url, client);
  } finally {
    await client.end();
    await database.drop();
  }
}

test("processes that start together on an empty database all find it migrated once", () =>
  withDatabase(async (url, client) => {
    await Promise.all(Array.from({ length: 5 }, () => migrate(url)));
    const { rows } = await client.query(
      "select count(*)::int as n, count(distinct hash)::int as distinct from drizzle.__drizzle_migrations",
    );
    expect(rows[0].n).toBe(rows[0].distinct);
    await client.query("select from event");
  }));

test("an address where nobody answers is named, without the password", async () => {
  const failure = migrate("postgres://user:secret@127.0.0.1:1/nothing");
  await expect(failure).rejects.toThrow(UnusableDatabase);
  await expect(failure).rejects.toThrow(/127\.0\.0\.1:1\/nothing.*Check that Postgres runs there/);
  await expect(failure).rejects.not.toThrow(/secret/);
});

test("a read-only database is refused with the remedy", () =>
  withDatabase(async (url, client) => {
    await client.query(
      `alter database ${new URL(url).pathname.slice(1)} set default_transaction_read_only = on`,
    );
    await expect(migrate(url)).rejects.toThrow(/read-only.*primary/);
  }));

test("a server that is too old is refused with what is needed", () =>
  withDatabase(async (url) => {
    await expect(migrate(url, { oldestVersion: 990_000 })).rejects.toThrow(
      /is Postgres 1\d.*; Tributary needs 99 or newer/,
    );
  }));

test("a database that risks what was acknowledged is warned of", () =>
  withDatabase(async (url, client) => {
    expect((await migrate(url)).warnings).toEqual([]);
    await client.query(`alter database ${new URL(url).pathname.slice(1)} set synchronous_commit = off`);
    expect((await migrate(url)).warnings).toEqual([expect.stringContaining("synchronous_commit=off")]);
  }));
