/** Two instances over one Postgres and one bus: what is decided at one is acted on at the other at once. */
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { ClosingReason, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { SessionClosedReason } from "../../gen/tributary/v1/session_pb.ts";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { readConfig } from "../../server/config.ts";
import type { SignalBody } from "../../server/core/ports.ts";
import { type RunningServer, startServer } from "../../server/main.ts";
import { codeOf } from "../api/codes.ts";
import { begin, texts } from "../api/session-world.ts";
import { follow } from "../api/subscription.ts";
import { newFamily, newWorkflow } from "../api/trees.ts";
import { adminKey, type Clients, createClients, createTenant, useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { until } from "../support/until.ts";

/** Its database is shared. */
const server = useServer();
const bus = createMemoryBus();
const instances: RunningServer[] = [];
let here: Clients;
let there: Clients;
let admin: Clients;

beforeAll(async () => {
  for (let i = 0; i < 2; i++) {
    const settings = { DATABASE_URL: server.database.url, PORT: "0", TRIBUTARY_ADMIN_KEY: adminKey };
    instances.push(
      await startServer(readConfig({ ...settings, LOG_LEVEL: "error", POOL_SIZE: "5" }), { bus }),
    );
  }
  admin = createClients(instances[0]?.url ?? "", adminKey);
  here = await createTenant(admin, "news");
  there = createClients(instances[1]?.url ?? "", here.key);
});
afterAll(async () => {
  for (const instance of instances) {
    await until(() =>
      expect(instance.gauges()).toEqual({ openCalls: 0, liveStreams: 0, waitingCommands: 0 }),
    );
    await instance.close();
  }
  await bus.close();
});

const send = (clients: Clients, workflowId: string) =>
  clients.tasks.streamTaskData({
    workflowExecutionId: workflowId,
    taskExecutionId: "t",
    payload: "x",
    type: EventType.TOKEN,
  });

test("a request to stop reaches the producers at the other instance: attached ones and single calls", async () => {
  const { root, child, sibling } = await newFamily(there);
  const [above, below, beside] = [
    await openSession(there, root),
    await openSession(there, child),
    await openSession(there, sibling),
  ];
  expect(await send(there, child)).toMatchObject({ cancelRequested: false });
  await here.workflows.requestCancel({ workflowId: child, reason: "enough" });
  await until(() =>
    expect(below.all("cancelRequested")).toMatchObject([{ workflowId: child, reason: "enough" }]),
  );
  expect(await send(there, child)).toMatchObject({ cancelRequested: true });
  await here.workflows.requestCancel({ workflowId: root, reason: "all of it" });
  const told = { workflowId: root, reason: "all of it" };
  await until(() => expect(above.all("cancelRequested")).toMatchObject([told]));
  await until(() => expect(beside.all("cancelRequested")).toMatchObject([told]));
  for (const call of [above, below, beside]) call.cut();
});

test("late news of a workflow that was deleted say nothing of one made anew under its id", async () => {
  const late: SignalBody[] = [];
  const stop = await bus.onSignal("news", (body) => late.push(body));
  const workflowId = await newWorkflow(here);
  await here.workflows.requestCancel({ workflowId, reason: "enough" });
  await here.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
  stop();
  expect(late).toMatchObject([{ kind: "cancel_requested" }, { kind: "workflow_closed" }]);
  await here.workflows.deleteWorkflowTree({ workflowId });
  await here.workflows.createWorkflow({ workflowId, name: "anew" });
  const call = await openSession(there, workflowId);
  await send(there, workflowId);
  for (const news of late) bus.signal("news", news);
  expect(await send(there, workflowId)).toMatchObject({ cancelRequested: false });
  await here.workflows.requestCancel({ workflowId, reason: "this one" });
  await until(() => expect(call.all("cancelRequested")).toMatchObject([{ reason: "this one" }]));
  call.cut();
});

test("a session that is taken here ends there as SUPERSEDED, though it is silent", async () => {
  const { workflowId, call, sessionId } = await begin(there);
  call.batch(1, texts(3));
  await call.durable(3);
  const moved = await openSession(here, workflowId, { sessionId });
  expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.SUPERSEDED, finalSequence: 3n });
  moved.batch(4, ["4"]);
  await moved.durable(4);
  // Back again: each move tells the one before it, not the one after.
  const back = await openSession(there, workflowId, { sessionId });
  expect(await moved.closed()).toMatchObject({ reason: SessionClosedReason.SUPERSEDED, finalSequence: 4n });
  back.batch(5, ["5"]);
  await back.durable(5);
  back.cut();
});

test("an administrator's close here ends the silent session there", async () => {
  const { call, sessionId } = await begin(there);
  call.batch(1, texts(2));
  await call.durable(2);
  await admin.admin.closeSession({ sessionId });
  expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.ADMIN, finalSequence: 2n });
});

test("a workflow that is closed here is known there as closed: a single call is refused, not accepted and dropped", async () => {
  const { root, child } = await newFamily(there);
  await send(there, child);
  await send(there, child);
  await here.workflows.closeWorkflow({
    workflowId: root,
    status: WorkflowStatus.COMPLETED,
    closeDescendants: true,
  });
  // The first one already: else it would be told that it was accepted.
  expect(await codeOf(send(there, child))).toBe(Code[Code.FailedPrecondition]);
});

test("a tree that is deleted here is unknown there, and its id may be used again", async () => {
  const root = await newWorkflow(there);
  await send(there, root);
  await here.workflows.closeWorkflow({ workflowId: root, status: WorkflowStatus.COMPLETED });
  await here.workflows.deleteWorkflowTree({ workflowId: root });
  expect(await codeOf(send(there, root))).toBe(Code[Code.NotFound]);
  await here.workflows.createWorkflow({ workflowId: root, name: "again" });
  expect(await send(there, root)).toMatchObject({ acknowledged: true });
});

test("calls of a key that is revoked here end there, and new ones are refused", async () => {
  const { apiKeyId, key } = await admin.admin.createApiKey({
    tenantSlug: "news",
    roles: [Role.READ, Role.PUBLISH],
  });
  const clients = createClients(there.url, key);
  const workflowId = await newWorkflow(here);
  await using reader = follow((options) => clients.streams.streamWorkflow({ workflowId }, options));
  await reader.open();
  const writer = await openSession(clients, workflowId);
  await admin.admin.revokeApiKey({ apiKeyId });
  await reader.until(() => expect(reader.closing?.reason).toBe(ClosingReason.REVOKED));
  expect(await writer.closed()).toMatchObject({ reason: SessionClosedReason.REVOKED });
  expect(await codeOf(clients.workflows.getWorkflow({ workflowId }))).toBe(Code[Code.Unauthenticated]);
});

test("calls of a tenant that is disabled here end there", async () => {
  const soon = await createTenant(admin, "soon-disabled");
  const clients = createClients(there.url, soon.key);
  const { call } = await begin(clients);
  await admin.admin.updateTenant({ slug: "soon-disabled", disabled: true });
  expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.REVOKED });
  expect(await codeOf(clients.workflows.listWorkflows({}))).toBe(Code[Code.Unauthenticated]);
});
