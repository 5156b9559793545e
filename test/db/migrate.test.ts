/** What a database must be, and what is said when it is not. */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { drizzle } from "drizzle-orm/node-postgres";
import { migrate as applyMigrations } from "drizzle-orm/node-postgres/migrator";
import pg from "pg";
import { expect, inject, test } from "vitest";
import { migrate, UnusableDatabase } from "../../db/migrate.ts";
import type { Command } from "../../server/core/command.ts";
import { toAppendGroup } from "../../server/store/append-group.ts";
import { createTestDatabase } from "../support/cluster.ts";
import { anEvent, create, entries } from "../support/commands.ts";
import { newId, waitingForLock } from "../support/database.ts";
import { until } from "../support/until.ts";

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

/** As the release before this migration left it. */
async function migrateBefore(name: string, client: pg.Client): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "tributary-test-migrations-"));
  try {
    await cp(fileURLToPath(new URL("../../db/migrations", import.meta.url)), folder, { recursive: true });
    const file = join(folder, "meta", "_journal.json");
    const journal = JSON.parse(await readFile(file, "utf8"));
    const at = journal.entries.findIndex(({ tag }: { tag: string }) => tag === name);
    await writeFile(file, JSON.stringify({ ...journal, entries: journal.entries.slice(0, at) }));
    await applyMigrations(drizzle(client), { migrationsFolder: folder });
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("a migration that waits for a table lets others use it meanwhile, and is done when it is free", () =>
  withDatabase(async (url, client) => {
    await migrateBefore("0009_quotas", client);
    const other = new pg.Client({ connectionString: url });
    await other.connect();
    await other.query("set lock_timeout = 2000");
    await client.query("begin; delete from workflow where false");
    const migrated = migrate(url, { pauseMs: 50 });
    for (let i = 0; i < 3; i++) {
      await until(() => waitingForLock(other));
      await other.query("delete from workflow where false");
    }
    await client.query("commit");
    await migrated;
    await other.query("select most from open_workflow_count");
    await other.end();
  }));

test("a table that is locked for ever ends a migration", () =>
  withDatabase(async (url, client) => {
    await migrateBefore("0009_quotas", client);
    await client.query("begin; delete from workflow where false");
    await expect(migrate(url, { tries: 2, pauseMs: 1 })).rejects.toThrow();
    await client.query("commit");
  }));

test("0009 counts the open workflows of tenants that have a limit already", () =>
  withDatabase(async (url, client) => {
    await migrateBefore("0009_quotas", client);
    await client.query("insert into tenant (slug, max_open_workflows) values ('acme', 5), ('none', 0)");
    for (const [tenant, open] of [
      ["acme", 3],
      ["acme", 0],
      ["none", 1],
    ] as const) {
      await client.query(
        `with s as (insert into stream (stream_id, tenant_slug, kind) values (gen_random_uuid(), $1, 1) returning stream_id)
         insert into workflow (workflow_id, tenant_slug, stream_id, path, depth, name, metadata, created_ms, created_offset,
                               status, closed_ms, terminal_offset, open_in_subtree, subtree_final_offset)
         select stream_id, $1, stream_id, array[stream_id], 0, '', '{}', 0, 1,
                case when $2::int = 0 then 2 else 1 end, case when $2 = 0 then 1 end, case when $2 = 0 then 1 end, $2,
                case when $2 = 0 then 1 end from s`,
        [tenant, open],
      );
    }
    await migrate(url);
    const { rows } = await client.query("select tenant_slug, open, most from open_workflow_count");
    expect(rows).toEqual([{ tenant_slug: "acme", open: 3, most: 5 }]);
  }));

test("a server of the release before goes on writing, on the connections it has, when 0010 is applied beside it", () =>
  withDatabase(async (url, client) => {
    await migrateBefore("0010_trace_context", client);
    await client.query("insert into tenant (slug) values ('acme')");
    const streamId = newId();
    // As that release has it: prepared once on each connection.
    const text = `select * from append(
      $1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::int[], $8::bigint[], $9::smallint[],
      $10::bigint[], $11::int[], $12::int[], $13::boolean[], $14::int[],
      $15::int[], $16::text[], $17::text[], $18::real[], $19::real[], $20::bigint[], $21::jsonb, $22::bytea)`;
    const append = async (command: Command) => {
      const g = toAppendGroup([command]);
      const observations = ["{}", "{}", "{}", "{}", "{}", "{}"];
      const values = [
        g.streams,
        g.keyStream,
        g.keyWorkflow,
        g.keyTask,
        g.keyProducer,
        g.keyEpoch,
        g.entryKey,
      ];
      values.push(g.entrySequence, g.entryType, g.entryTimestamp, g.entryStart, g.entrySize);
      const payload = Buffer.concat(g.payloads.map((part) => Buffer.from(part as string)));
      const rest = [g.entryIsText, g.entryChain, ...observations, JSON.stringify(g.ops), payload];
      const { rows } = await client.query({ name: "append", text, values: [...values, ...rest] });
      return rows[0];
    };
    const event = () => entries(streamId, [anEvent({ workflowId: streamId })]);
    await append(create(streamId, { workflowId: streamId }));
    expect(await append(event())).toMatchObject({ decisions: null, first_offsets: ["2"] });
    await migrate(url);
    expect(await append(event())).toMatchObject({ decisions: null, first_offsets: ["3"] });
    const { rows } = await client.query("select count(*)::int as n from event where trace_context is null");
    expect(rows[0].n).toBe(3);
  }));
