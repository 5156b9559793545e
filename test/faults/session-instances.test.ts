/** Two instances over one Postgres: a session moves between them, and what the older one still has waiting is fenced off. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { AckLevel, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { RejectionCode, SessionClosedReason, SessionState } from "../../gen/tributary/v1/session_pb.ts";
import { readConfig } from "../../server/config.ts";
import { type RunningServer, startServer } from "../../server/main.ts";
import { begin, stored, texts } from "../api/session-world.ts";
import { newWorkflow } from "../api/trees.ts";
import { adminKey, type Clients, createClients, useServer } from "../support/server.ts";
import { openSession, SessionCall } from "../support/session-call.ts";
import { SessionWriter } from "../support/session-client.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { until } from "../support/until.ts";
import { checkStored, numbered } from "./session-check.ts";

const server = useServer();
let other: RunningServer;
let there: Clients;

beforeAll(async () => {
  other = await startServer(
    readConfig({
      DATABASE_URL: server.database.url,
      PORT: "0",
      TRIBUTARY_ADMIN_KEY: adminKey,
      LOG_LEVEL: "error",
    }),
  );
  there = createClients(other.url, server.acme.key);
});
afterAll(async () => {
  await until(() => expect(other.gauges()).toEqual({ openCalls: 0, liveStreams: 0, waitingCommands: 0 }));
  await other.close();
});

test("a session goes on at another instance; the older connection is SUPERSEDED at its next entry at the latest", async () => {
  const { workflowId, call, sessionId } = await begin(server.acme);
  call.batch(1, texts(3));
  await call.durable(3);
  const moved = await openSession(there, workflowId, { sessionId });
  expect(await moved.opened()).toMatchObject({ lastSequence: 3n });
  call.batch(4, ["from the older connection"]);
  moved.batch(4, ["4"]);
  await moved.durable(4);
  expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.SUPERSEDED });
  expect(await stored(server.acme, workflowId)).toEqual(texts(4));
  const { sessions } = await server.admin.admin.listSessions({ sessionId });
  expect(sessions).toMatchObject([{ state: SessionState.ACTIVE, lastSequence: 4n, epoch: 2n }]);
});

test("what the older instance still has waiting is stored before the session moves, or never", async () => {
  const { workflowId, call, sessionId } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
  const lock = await holdStreams(server.database.url, workflowId);
  for (let n = 1; n <= 300; n++) call.batch(n, [`${n}`]);
  await call.accepted(300);
  const moved = new SessionCall(there);
  moved.say("init", { workflowId, session: { sessionId } });
  await lock.release();
  const last = Number((await moved.opened()).lastSequence);
  moved.batch(last + 1, texts(400 - last, last + 1));
  await moved.durable(400);
  // Unless the fence told it before, its next entry does.
  call.batch(301, ["from the older connection"]);
  expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.SUPERSEDED });
  expect(moved.rejections()).toEqual([]);
  expect(await stored(server.acme, workflowId)).toEqual(texts(400));
});

test.each<[string, (call: SessionCall) => void]>([
  ["half-closed", (call) => call.halfClose()],
  ["cut", (call) => call.cut()],
  ["closed with drain", (call) => call.say("close", { drain: true })],
  ["closed without drain", (call) => call.say("close", { drain: false })],
])("an older connection that is %s takes nothing from the session's new one", async (_, end) => {
  const { workflowId, call, sessionId } = await begin(server.acme);
  call.batch(1, texts(3));
  await call.durable(3);
  const moved = await openSession(there, workflowId, { sessionId });
  end(call);
  await call.ended.catch(() => {}); // a cut one
  await until(() => expect(server.server.gauges().openCalls).toBe(0));
  const { sessions } = await server.admin.admin.listSessions({ sessionId });
  expect(sessions).toMatchObject([{ state: SessionState.ACTIVE, epoch: 2n }]);
  moved.batch(4, ["4"]);
  await moved.durable(4);
  expect(moved.all("closed")).toEqual([]);
  for (const { reason } of call.all("closed"))
    expect([SessionClosedReason.SUPERSEDED, SessionClosedReason.DETACHED]).toContain(reason);
});

test("two instances that both serve writers of one session store each number once", {
  timeout: 90_000,
}, async () => {
  const { workflowId, sessionId } = await begin(server.acme);
  const count = 3000;
  const entries = numbered(count);
  const writers = [server.acme, there].map((clients) => {
    const writer = new SessionWriter(clients, { workflowId, entries, batchSize: () => 5 });
    writer.sessionId = sessionId;
    return writer;
  });
  await Promise.all(writers.map((writer) => writer.run()));
  for (const writer of writers) await checkStored(server.pool, writer, count);
});

test("an administrator's close at one instance ends the session at the other: nothing more is stored", async () => {
  const { workflowId, call, sessionId } = await begin(server.acme);
  call.batch(1, texts(3));
  await call.durable(3);
  await there.admin.closeSession({ sessionId });
  call.batch(4, ["late"]);
  expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.ADMIN, finalSequence: 3n });
  expect(await stored(server.acme, workflowId)).toEqual(texts(3));
});

test("entries still queued here when the workflow is closed there are refused at the commit", async () => {
  const { workflowId, call } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
  const lock = await holdStreams(server.database.url, workflowId);
  for (let n = 1; n <= 100; n++) call.batch(n, [`${n}`]);
  await call.accepted(100);
  const closing = there.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
  await lock.release();
  await closing;
  await call.durable(100);
  const kept = await stored(server.acme, workflowId);
  expect(kept).toEqual(texts(kept.length));
  expect(call.rejections().map(([code, sequence, , final]) => [code, sequence, final])).toEqual(
    texts(100 - kept.length, kept.length + 1).map((n) => [RejectionCode.WORKFLOW_CLOSED, Number(n), true]),
  );
});

test("a session whose connection broke at one instance, with entries waiting there, goes on at another", async () => {
  const workflowId = await newWorkflow(server.acme);
  const call = await openSession(there, workflowId, { ackLevel: AckLevel.ACCEPTED });
  const { sessionId } = await call.opened();
  const lock = await holdStreams(server.database.url, workflowId);
  call.batch(1, texts(50));
  await call.accepted(50);
  call.cut();
  const moved = new SessionCall(server.acme);
  moved.say("init", { workflowId, session: { sessionId } });
  await lock.release();
  const last = Number((await moved.opened()).lastSequence);
  moved.batch(last + 1, texts(60 - last, last + 1));
  await moved.durable(60);
  expect(await stored(server.acme, workflowId)).toEqual(texts(60));
});
