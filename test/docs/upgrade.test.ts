/** docs/operations/upgrade.md: an old and a new server side by side, and a release that finds a newer database. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import pg from "pg";
import { expect, inject, test } from "vitest";
import { createTributaryClient } from "../../client/index.ts";
import { migrate } from "../../db/migrate.ts";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { createTestDatabase } from "../support/cluster.ts";
import { adminKey, createClients, createTenant } from "../support/server.ts";
import { spawnServer } from "../support/spawned-server.ts";
import { blocksIn } from "./pages.ts";

test("two servers on one database: what one writes the other shows, and one may stop while the other goes on", async () => {
  const database = await createTestDatabase(inject("clusterUrl"));
  const env = { DATABASE_URL: database.url, TRIBUTARY_ADMIN_KEY: adminKey, DRAIN_TIMEOUT_MS: "500" };
  const [old, young] = await Promise.all([spawnServer(env), spawnServer(env)]); // both find an empty database
  try {
    const writer = await createTenant(createClients(old.url, adminKey), "acme");
    const { workflow } = await writer.workflows.createWorkflow({ name: "moved" });
    const workflowId = workflow?.workflowId ?? "";
    const event = { workflowExecutionId: workflowId, taskExecutionId: "t", type: EventType.TOKEN };
    const reader = createTributaryClient({ baseUrl: young.url, credential: writer.key });
    const after = createClients(young.url, writer.key);
    const seen: unknown[] = [];
    for await (const item of reader.follow(workflowId)) {
      if (item.kind === "opened")
        await writer.tasks.streamTaskData({ ...event, payload: "by the old", waitForDurable: true });
      if (item.kind !== "events") continue;
      seen.push(...item.events.map(({ payload }) => payload.value));
      if (seen.at(-1) !== "by the old") continue;
      await old.kill("SIGTERM");
      await after.tasks.streamTaskData({ ...event, payload: "by the young", waitForDurable: true });
      await after.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    }
    reader.close();
    expect(seen.slice(1, 3)).toEqual(["by the old", "by the young"]);
  } finally {
    await Promise.all([old.kill("SIGTERM"), young.kill("SIGTERM")]);
    await database.drop();
  }
});

test("a release passes over migrations of a later one", async () => {
  const database = await createTestDatabase(inject("clusterUrl"));
  const client = new pg.Client({ connectionString: database.url });
  try {
    await migrate(database.url);
    await client.connect();
    const later = "insert into drizzle.__drizzle_migrations (hash, created_at) values ('later', $1)";
    await client.query(later, [Date.now() + 1e9]);
    await migrate(database.url);
    const { rows } = await client.query("select count(*)::int as n from drizzle.__drizzle_migrations");
    expect(rows[0].n).toBeGreaterThan(2);
  } finally {
    await client.end();
    await database.drop();
  }
});

test("the command of the page brings a database up to date", async () => {
  const database = await createTestDatabase(inject("clusterUrl"));
  try {
    const [command = "", ...rest] = blocksIn("docs/operations/upgrade.md", "sh");
    expect(rest).toEqual([]);
    const env = { ...process.env, DATABASE_URL: database.url };
    const { stdout } = await promisify(execFile)("bash", ["-euo", "pipefail", "-c", command], { env });
    expect(stdout).toContain("Up to date");
  } finally {
    await database.drop();
  }
});
