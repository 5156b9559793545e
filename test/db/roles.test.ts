/** db/roles.sql: what the migration role and the service role may, and that a server needs no more. */
import { readFileSync } from "node:fs";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { migrate, UnusableDatabase } from "../../db/migrate.ts";
import { afterRestore } from "../../db/restored.ts";
import { findOrphans } from "../../db/statements/find-orphans.ts";
import { Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import type { RunningServer } from "../../server/main.ts";
import { codeOf } from "../api/codes.ts";
import { texts } from "../api/session-world.ts";
import { follow } from "../api/subscription.ts";
import { newFamily, newWorkflow, publish, readAll, token } from "../api/trees.ts";
import { createTestDatabase, type TestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { startInstance, stopInstance } from "../support/instances.ts";
import { byText, contents, observe, recalled } from "../support/memory-call.ts";
import { adminKey, createClients, createTenant, disconnectClients } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { until } from "../support/until.ts";

const statements = readFileSync("db/roles.sql", "utf8");
const password = "for-the-tests-alone";

/** The same database as this role. */
function as(role: string, { url }: TestDatabase): string {
  const own = new URL(url);
  own.username = role;
  own.password = password;
  return own.href;
}

async function query(url: string, ...texts: string[]): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    let result: pg.QueryResult | undefined;
    for (const text of texts) result = await client.query(text);
    if (result === undefined) throw new Error("nothing to ask");
    return result;
  } finally {
    await client.end();
  }
}

/** The SQLSTATE with which it is refused, or "OK". */
const refusal = (url: string, text: string): Promise<string> =>
  query(url, text).then(
    () => "OK",
    (error: { code?: string }) => error.code ?? String(error),
  );
const denied = "42501";

const makeRoles = (database: TestDatabase) =>
  query(
    database.url,
    statements,
    `alter role tributary_migrate password '${password}'; alter role tributary_service password '${password}'`,
  );

let fresh: TestDatabase;
/** One that a single role for all has made and used. */
let grown: TestDatabase;

beforeAll(async () => {
  fresh = await createTestDatabase(inject("clusterUrl"));
  await makeRoles(fresh);
  await migrate(as("tributary_migrate", fresh));
  grown = await createTestDatabase(inject("clusterUrl"), { template });
  await query(
    grown.url,
    "create schema other; create table other.secret (x int); insert into tenant (slug) values ('old')",
  );
  await makeRoles(grown);
  await makeRoles(grown); // again
}, 60_000);
afterAll(async () => {
  await fresh.drop();
  await grown.drop();
});

describe.each([
  ["a database that the migration role made", () => fresh],
  ["a database that was there before", () => grown],
])("on %s", (_name, database) => {
  let server: RunningServer;

  beforeAll(async () => {
    server = await startInstance(as("tributary_service", database()), { RETENTION_INTERVAL_MS: "100" });
  }, 30_000);
  afterAll(async () => {
    disconnectClients(server.url);
    await stopInstance(server);
    await query(database().url, "select 1");
  });

  test("a server under the service role does all that servers do", async () => {
    const admin = createClients(server.url, adminKey);
    const acme = await createTenant(admin, "acme");
    const { root, child } = await newFamily(acme);
    await publish(acme, [token(child, "one"), token(root, "two")]);
    const guest = createClients(
      server.url,
      (await acme.tokens.createStreamToken({ workflowIds: [root], includeVariables: true })).token,
    );
    await using reader = follow((options) =>
      guest.streams.streamWorkflowConsolidated({ workflowId: root }, options),
    );
    await reader.open();
    const session = await openSession(acme, child);
    session.batch(1, texts(3));
    await session.durable(3);
    await acme.variables.setVariable({
      workflowId: root,
      assignment: { name: "a", value: { kind: { case: "numberValue", value: 1 } } },
    });
    await acme.variables.deleteVariable({ workflowId: root, name: "a" });
    await until(() => expect(reader.events.length).toBeGreaterThan(7));
    await acme.workflows.requestCancel({ workflowId: root, reason: "enough" });
    await acme.workflows.closeWorkflow({
      workflowId: root,
      status: WorkflowStatus.COMPLETED,
      closeDescendants: true,
    });
    await reader.end();
    session.cut();

    await acme.memory.createMemorySpace({ space: "notes", retention: { maxObservations: 2n } });
    await observe(acme, "notes", ["the cat", "the dog", "the cow"]);
    const found = await recalled(acme, { space: "notes", ...byText("cow") });
    expect(contents(found.results)).toEqual(["the cow"]);

    await admin.admin.updateTenant({
      slug: "acme",
      limits: { maxStreams: 5, maxSessions: 5, maxOpenWorkflows: 50 },
    });
    const { apiKeyId } = await acme.admin.createApiKey({ roles: [Role.READ] });
    await acme.admin.revokeApiKey({ apiKeyId });
    await admin.admin.rotateSigningKey({ retireOlder: true });
    await acme.admin.listSessions({});
    await acme.admin.getStats({});

    const kept = await newWorkflow(acme);
    await publish(
      acme,
      Array.from({ length: 30 }, (_, i) => token(kept, String(i))),
    );
    await admin.admin.updateTenant({ slug: "acme", retentionEvents: 5n });
    await until(async () => {
      const floor =
        "select max(floor_offset)::int as floor, max(deleted_to)::int as deleted from stream_floor";
      const { rows } = await query(database().url, floor);
      expect(rows[0].floor).toBeGreaterThan(20);
      expect(rows[0].deleted).toBeGreaterThan(20);
    });
    await acme.workflows.deleteWorkflowTree({ workflowId: root });
    expect(await codeOf(readAll(acme, root))).toBe("NotFound");
    await until(async () => {
      const left = `select count(*)::int as n from event where workflow_id = '${root}'`;
      expect((await query(database().url, left)).rows[0].n).toBe(0);
    });
    expect(
      await query(as("tributary_service", database()), "select observation_index_words()"),
    ).toBeDefined();
    await afterRestore(as("tributary_service", database()), false);
    const superuser = new pg.Pool({ connectionString: database().url, max: 1 });
    expect(await findOrphans(superuser)).toEqual([]);
    await superuser.end();
  }, 60_000);

  test("the service role changes no schema, empties no table, reads no other, and makes nobody more than it is", async () => {
    const service = as("tributary_service", database());
    const found = new Map<string, string>();
    for (const text of [
      "create table mine (x int)",
      "create schema mine",
      "create temporary table mine (x int)",
      "create function mine() returns int language sql as 'select 1'",
      "create or replace function retention_now() returns bigint language sql as 'select 0::bigint'",
      "alter table event add column x int",
      "alter table event disable trigger all",
      "drop table event",
      "drop function append_lock_counts(jsonb)",
      "truncate event",
      "create index on event (type)",
      "create trigger t before insert on event for each row execute function workflow_count_open()",
      "create extension pg_trgm",
      "insert into drizzle.__drizzle_migrations (hash, created_at) values ('x', 1)",
      "delete from drizzle.__drizzle_migrations",
      "alter role tributary_service superuser",
      "create role mine",
      "set role tributary_migrate",
      "copy event to program 'true'",
      "select pg_read_file('PG_VERSION')",
      "select * from pg_authid",
    ]) {
      found.set(text, await refusal(service, text));
    }
    expect(Object.fromEntries(found)).toEqual(
      Object.fromEntries([...found.keys()].map((text) => [text, denied])),
    );
    expect(await refusal(service, "select 1 from event limit 1")).toBe("OK");
  });
});

test("the service role does not read other schemas, and other roles read nothing of ours", async () => {
  expect(await refusal(as("tributary_service", grown), "select * from other.secret")).toBe(denied);
  await query(
    grown.url,
    `drop role if exists tributary_stranger; create role tributary_stranger login password '${password}'`,
  );
  try {
    expect(await refusal(as("tributary_stranger", grown), "select 1")).toBe(denied);
    const name = new URL(grown.url).pathname.slice(1);
    await query(grown.url, `grant connect on database ${name} to tributary_stranger`);
    for (const text of [
      "select * from public.tenant",
      "select public.retention_now()",
      "create table public.mine (x int)",
    ])
      expect(await refusal(as("tributary_stranger", grown), text), text).toBe(denied);
  } finally {
    await query(grown.url, "drop owned by tributary_stranger; drop role tributary_stranger");
  }
});

test("what a later migration makes is the service role's to use at once, and nobody else's", async () => {
  await query(
    as("tributary_migrate", fresh),
    "create table later (id bigint generated always as identity primary key, x int)",
    "create function later_one() returns int language sql as 'select 1'",
    "create or replace function retention_now() returns bigint language sql as 'select (extract(epoch from clock_timestamp()) * 1000)::bigint'",
  );
  const service = as("tributary_service", fresh);
  await query(
    service,
    "insert into later (x) values (1)",
    "update later set x = 2",
    "delete from later",
    "select later_one()",
  );
  expect(await refusal(service, "truncate later")).toBe(denied);
  const { rows } = await query(
    fresh.url,
    "select has_function_privilege('public', 'later_one()', 'execute') as may",
  );
  expect(rows).toEqual([{ may: false }]);
  await query(as("tributary_migrate", fresh), "drop table later", "drop function later_one()");
});

test("a server under the service role does not start on a database that is behind, and names the command", async () => {
  const empty = await createTestDatabase(inject("clusterUrl"));
  try {
    await makeRoles(empty);
    const service = as("tributary_service", empty);
    const failure = startInstance(service);
    await expect(failure).rejects.toThrow(UnusableDatabase);
    await expect(failure).rejects.toThrow(/not up to date.*tributary_service may not.*`tributary migrate`/);
    await expect(failure).rejects.not.toThrow(new RegExp(password));
    await migrate(as("tributary_migrate", empty));
    await query(
      empty.url,
      "delete from drizzle.__drizzle_migrations where created_at = (select max(created_at) from drizzle.__drizzle_migrations)",
    );
    await expect(startInstance(service)).rejects.toThrow(/1 migrations are missing/);
    await query(empty.url, "revoke usage on schema drizzle from tributary_service");
    await expect(startInstance(service)).rejects.toThrow(/not up to date/);
  } finally {
    await empty.drop();
  }
}, 30_000);

test("who owns the database and may make roles need be no superuser", async () => {
  const hosted = await createTestDatabase(inject("clusterUrl"));
  const name = new URL(hosted.url).pathname.slice(1);
  await query(
    hosted.url,
    `drop role if exists tributary_hosted; create role tributary_hosted login createrole password '${password}'`,
  );
  try {
    await query(hosted.url, `alter database ${name} owner to tributary_hosted`);
    // Where it made the roles itself; here they are another's.
    await query(hosted.url, "grant tributary_migrate to tributary_hosted with admin option");
    await migrate(as("tributary_hosted", hosted)); // one role for all, at first
    await query(as("tributary_hosted", hosted), statements);
    await stopInstance(await startInstance(as("tributary_service", hosted)));
    expect(await refusal(as("tributary_service", hosted), "drop table event")).toBe(denied);
  } finally {
    await hosted.drop();
    await query(fresh.url, "drop role tributary_hosted");
  }
}, 30_000);
