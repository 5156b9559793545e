/** What is slow is warned of by name, and a bad hour does not fill a disk. */
import { expect, inject, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { readConfig } from "../../server/config.ts";
import type { LiveStream } from "../../server/core/live-stream.ts";
import { type FarBehind, LagWatch } from "../../server/core/system/lag-watch.ts";
import { openLog } from "../../server/log/logger.ts";
import { createSlowness } from "../../server/log/slowness.ts";
import { startServer } from "../../server/main.ts";
import { newWorkflow } from "../api/trees.ts";
import { createTestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { LogLines } from "../support/log-lines.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { adminKey, createClients, createTenant, disconnectClients } from "../support/server.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { until } from "../support/until.ts";

test("a commit that took longer than the setting is warned of, with what it was about", async () => {
  const database = await createTestDatabase(inject("clusterUrl"), { template });
  const log = new LogLines();
  const config = readConfig({
    DATABASE_URL: database.url,
    PORT: "0",
    TRIBUTARY_ADMIN_KEY: adminKey,
    LOG_LEVEL: "warn",
    POOL_SIZE: "3",
    SLOW_COMMIT_MS: "300",
  });
  const server = await startServer(config, { logTo: log });
  const acme = await createTenant(createClients(server.url, adminKey), "acme");
  const workflowId = await newWorkflow(acme);
  const all = () => log.lines.filter(({ msg }) => msg === "a commit was slow");
  // Others may be slow, too: the disk is shared.
  const slow = () => all().filter(({ failure }) => failure === "busy");
  const held = await holdStreams(database.url, workflowId);
  const stored = acme.tasks.streamTaskData({
    workflowExecutionId: workflowId,
    taskExecutionId: "t",
    type: EventType.TOKEN,
    payload: "x",
    waitForDurable: true,
  });
  await until(() => expect(slow().length).toBe(1)); // gave up waiting for the lock, and tries again
  await held.release();
  await stored;
  const { rows } = await createRows(database.url, workflowId);
  expect(slow()[0]).toMatchObject({
    level: 40,
    streamId: rows[0]?.stream_id,
    tenant: "acme",
    commands: 1,
    entries: 1,
    streams: 1,
    failure: "busy",
  });
  for (const { tookMs } of all()) expect(tookMs).toBeGreaterThanOrEqual(300);
  await acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
  disconnectClients(server.url);
  await server.close();
});

async function createRows(url: string, workflowId: string) {
  const { default: pg } = await import("pg");
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await client.query<{ stream_id: string }>(
      "select stream_id from workflow where workflow_id = $1",
      [workflowId],
    );
  } finally {
    await client.end();
  }
}

/** A stream with a tail of 1,000 and readers at these positions. */
const streamWith = (streamId: string, positions: number[]) =>
  ({
    streamId,
    tail: 1000,
    positions: () => positions.values(),
    traffic: { owner: { tenant: "acme", rootWorkflowId: streamId, space: undefined } },
  }) as unknown as LiveStream;

test("a reader that is far behind for ten seconds is told of, once a minute; one that catches up before is not", () => {
  const clock = new ManualClock();
  const [slow, burst] = [[999, 100, 300], [0]];
  const told: FarBehind[] = [];
  const live = () => [streamWith("slow", slow), streamWith("burst", burst)].values() as Generator<LiveStream>;
  const watch = new LagWatch({ hub: { live }, clock, tell: (found) => told.push(found) }, 500);
  const pass = (seconds: number) => {
    for (let i = 0; i < seconds; i += 5) clock.move(5000);
  };
  pass(10);
  burst[0] = 900;
  expect(told).toEqual([]);
  pass(5);
  expect(told).toMatchObject([{ streamId: "slow", distance: 900, readers: 2, owner: { tenant: "acme" } }]);
  pass(55);
  expect(told.length).toBe(1);
  pass(5);
  expect(told.length).toBe(2);
  slow.splice(0, 3, 999, 998);
  pass(5);
  slow.push(0); // again, from the beginning
  pass(10);
  expect(told.length).toBe(2);
  pass(5);
  expect(told.length).toBe(3);
  watch.close();
  expect(clock.timers).toBe(0);
});

test("of many warnings of a kind ten a minute are written, and the next says how many were left out", () => {
  const clock = new ManualClock();
  const lines = new LogLines();
  const { slowCommit, farBehind } = createSlowness(openLog("info", lines).log, clock.now);
  const commit = {
    tookMs: 1500.4,
    waitedMs: 2,
    commands: 1,
    entries: 1,
    bytes: 1,
    streams: 1,
    streamId: "s",
    tenant: "acme",
    failure: undefined,
  };
  for (let i = 0; i < 500; i++) slowCommit(commit);
  expect(lines.lines.length).toBe(10);
  clock.move(60_000);
  slowCommit(commit);
  expect(lines.lines.length).toBe(11);
  expect(lines.lines[10]).toMatchObject({
    msg: "a commit was slow",
    leftOut: 490,
    tookMs: 1500,
    tenant: "acme",
  });
  const owner = { tenant: "acme", rootWorkflowId: "r", space: undefined };
  farBehind({ streamId: "s", owner, distance: 5, readers: 1, forMs: 10_000 });
  expect(lines.lines[11]).toMatchObject({
    msg: "a reader is far behind",
    tenant: "acme",
    streamId: "s",
    distance: 5,
  });
});
