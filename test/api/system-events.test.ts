/** StreamSystemEvents: what happens in a real server, and who is told. */
import { afterEach, describe, expect, test } from "vitest";
import { Role, type SystemEvent, SystemEventType } from "../../gen/tributary/v1/admin_service_pb.ts";
import { AckLevel, ClosingReason, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { readConfig } from "../../server/config.ts";
import { startServer } from "../../server/main.ts";
import { adminKey, createClients, createTenant, useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";
import { Listening } from "../watch/listening.ts";
import { codeOf } from "./codes.ts";
import { begin } from "./session-world.ts";
import { newWorkflow } from "./trees.ts";

// One test makes a bug on purpose, which would be logged.
const server = useServer({ LOG_LEVEL: "silent" });
const { SESSION_ATTACHED, SESSION_DETACHED, SESSION_CLOSED, ENTRY_DROPPED, ERROR } = SystemEventType;
const open: Listening[] = [];

afterEach(async () => {
  for (const listening of open.splice(0)) await listening[Symbol.asyncDispose]();
});

async function listen(...of: ConstructorParameters<typeof Listening>): Promise<Listening> {
  const listening = new Listening(...of);
  open.push(listening);
  return listening.live();
}

async function databaseNow(): Promise<number> {
  const { rows } = await server.pool.query("select extract(epoch from clock_timestamp()) * 1000 as now");
  return Number(rows[0].now);
}

describe("a session", () => {
  const reasonsOf = ({ events }: Listening, sessionId: string) =>
    events
      .filter(({ metadata }) => metadata["session_id"] === sessionId)
      .map(({ type, metadata }) => [type, metadata["reason"]]);

  test("that is attached, cut, resumed, and closed by its client, with its workflow and why", async () => {
    const listening = await listen(server.acme);
    const before = await databaseNow();
    const { workflowId, call, sessionId } = await begin(server.acme);
    await listening.until(() => expect(listening.types(sessionId)).toEqual([SESSION_ATTACHED]));
    const [event] = listening.events as [SystemEvent];
    expect(event).toMatchObject({
      component: "sessions",
      metadata: { tenant: "acme", session_id: sessionId, workflow_id: workflowId },
    });
    expect(event.instanceId).not.toBe("");
    expect(Number(event.timestampMs)).toBeGreaterThan(before - 250);
    expect(Number(event.timestampMs)).toBeLessThan((await databaseNow()) + 250);
    call.cut();
    await listening.until(() => expect(listening.types(sessionId)).toContain(SESSION_DETACHED));
    const resumed = await openSession(server.acme, workflowId, { sessionId });
    await resumed.opened();
    resumed.say("close", { drain: true });
    await resumed.ended;
    await listening.until(() =>
      expect(reasonsOf(listening, sessionId)).toEqual([
        [SESSION_ATTACHED, undefined],
        [SESSION_DETACHED, "DETACHED"],
        [SESSION_ATTACHED, undefined],
        [SESSION_CLOSED, "CLIENT"],
      ]),
    );
  });

  test("that an administrator closes is closed once", async () => {
    const listening = await listen(server.admin);
    const { call, sessionId } = await begin(server.acme);
    await server.admin.admin.closeSession({ sessionId });
    await server.admin.admin.closeSession({ sessionId });
    await call.ended;
    const second = await begin(server.acme);
    await listening.until(() => expect(listening.types(second.sessionId)).toEqual([SESSION_ATTACHED]));
    expect(reasonsOf(listening, sessionId)).toEqual([
      [SESSION_ATTACHED, undefined],
      [SESSION_CLOSED, "ADMIN"],
    ]);
  });

  test("that moves to another connection is attached again, not detached", async () => {
    const listening = await listen(server.acme);
    const { workflowId, call, sessionId } = await begin(server.acme);
    const second = await openSession(server.acme, workflowId, { sessionId });
    await second.opened();
    await call.ended;
    second.say("close", { drain: true });
    await second.ended;
    await listening.until(() =>
      expect(listening.types(sessionId)).toEqual([SESSION_ATTACHED, SESSION_ATTACHED, SESSION_CLOSED]),
    );
  });
});

test("an accepted event that could not be stored is told to its tenant, with the task and why", async () => {
  const [own, foreign, errors] = [
    await listen(server.acme, { types: [ENTRY_DROPPED] }),
    await listen(server.globex),
    await listen(server.admin, { types: [ERROR] }),
  ];
  const workflowId = await newWorkflow(server.acme);
  const event = { workflowExecutionId: workflowId, taskExecutionId: "t", type: EventType.TOKEN };
  await server.acme.tasks.streamTaskData({ ...event, waitForDurable: true });
  const lock = await holdStreams(server.database.url, workflowId);
  const closing = server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
  await until(() => expect(server.server.gauges().waitingCommands).toBe(1));
  const answer = await server.acme.tasks.streamTaskData({ ...event, producerId: "p", sequence: 7n });
  expect(answer.level).toBe(AckLevel.ACCEPTED);
  await lock.release();
  await closing;
  await own.until(() => expect(own.types()).toEqual([ENTRY_DROPPED]));
  expect(own.events[0]?.metadata).toEqual({
    tenant: "acme",
    workflow_id: workflowId,
    task_execution_id: "t",
    producer_id: "p",
    sequence: "7",
    reason: "workflow_closed",
  });
  expect(foreign.events).toEqual([]);
  expect(errors.events).toEqual([]);
});

test("a bug is an ERROR with the id that its caller got, for the admin key alone", async () => {
  const [all, own] = [await listen(server.admin, { types: [ERROR] }), await listen(server.acme)];
  await server.pool.query("alter table memory_space rename to memory_space_away");
  try {
    expect(await codeOf(server.acme.memory.listMemorySpaces({}))).toBe("Internal");
  } finally {
    await server.pool.query("alter table memory_space_away rename to memory_space");
  }
  await all.until(() => expect(all.types()).toEqual([ERROR]));
  expect(all.events[0]?.metadata["error_id"]).toMatch(/^[0-9a-f-]{36}$/);
  expect(own.events).toEqual([]);
});

describe("who asks", () => {
  test("with a tenant's key gets that tenant's events, named or not, and of no other", async () => {
    const [own, named, foreign] = [
      await listen(server.acme),
      await listen(server.acme, { tenantSlug: "acme" }),
      await listen(server.globex),
    ];
    const { sessionId } = await begin(server.acme);
    for (const listening of [own, named])
      await listening.until(() => expect(listening.types(sessionId)).toEqual([SESSION_ATTACHED]));
    const theirs = await begin(server.globex);
    await foreign.until(() => expect(foreign.types(theirs.sessionId)).toEqual([SESSION_ATTACHED]));
    for (const { events } of [own, named])
      expect(events.every(({ metadata }) => metadata["tenant"] === "acme")).toBe(true);
    expect(foreign.events.every(({ metadata }) => metadata["tenant"] === "globex")).toBe(true);
    expect(await codeOf(new Listening(server.acme, { tenantSlug: "globex" }).finished)).toBe(
      "PermissionDenied",
    );
  });

  test("with the admin key gets all, or one tenant's, or is told that there is no such tenant", async () => {
    const [all, acme] = [await listen(server.admin), await listen(server.admin, { tenantSlug: "acme" })];
    const [mine, theirs] = [await begin(server.acme), await begin(server.globex)];
    for (const { sessionId } of [mine, theirs])
      await all.until(() => expect(all.types(sessionId)).toEqual([SESSION_ATTACHED]));
    await acme.until(() => expect(acme.types(mine.sessionId)).toEqual([SESSION_ATTACHED]));
    expect(acme.types(theirs.sessionId)).toEqual([]);
    expect(await codeOf(new Listening(server.admin, { tenantSlug: "nobody" }).finished)).toBe("NotFound");
  });

  test("without MANAGE is refused, and a type that does not exist too", async () => {
    const { key } = await server.admin.admin.createApiKey({
      tenantSlug: "acme",
      roles: [Role.READ, Role.PUBLISH],
    });
    expect(await codeOf(new Listening(server.clients(key)).finished)).toBe("PermissionDenied");
    for (const types of [[0], [99]] as SystemEventType[][])
      expect(await codeOf(new Listening(server.admin, { types }).finished)).toBe("InvalidArgument");
  });

  test("with a key that is revoked is told so", async () => {
    const { apiKeyId, key } = await server.admin.admin.createApiKey({
      tenantSlug: "acme",
      roles: [Role.MANAGE],
    });
    const listening = await listen(server.clients(key));
    await server.acme.admin.revokeApiKey({ apiKeyId });
    await listening.finished;
    expect(listening.closing?.reason).toBe(ClosingReason.REVOKED);
  });
});

test("a drain is told, with the sessions that it detaches, before the call is closed", async () => {
  const { call, sessionId } = await begin(server.acme);
  const all = await listen(server.admin);
  const restarted = server.restart();
  await all.finished;
  await call.ended;
  expect(all.closing?.reason).toBe(ClosingReason.DRAINING);
  expect(all.types()).toEqual([
    SystemEventType.SHUTDOWN,
    SystemEventType.HEALTH_CHANGED,
    SystemEventType.SESSION_DETACHED,
  ]);
  expect(all.events.at(-1)?.metadata).toMatchObject({ session_id: sessionId, reason: "DRAINING" });
  expect(all.events[1]?.metadata).toEqual({ status: "draining", before: "healthy" });
  await restarted;
});

test("a database that goes away and comes back is told as it is noticed, once each way", {
  timeout: 60_000,
}, async () => {
  const url = new URL(server.database.url);
  const proxy = await startTcpProxy(url.hostname, Number(url.port));
  url.port = String(proxy.port);
  const far = await startServer(
    readConfig({ DATABASE_URL: url.href, PORT: "0", TRIBUTARY_ADMIN_KEY: adminKey, LOG_LEVEL: "silent" }),
  );
  const admin = createClients(far.url, adminKey);
  const tenant = await createTenant(admin, "far-away");
  const [all, own] = [await listen(admin), await listen(tenant)];
  const statuses = () =>
    all.events
      .filter(({ type }) => type === SystemEventType.HEALTH_CHANGED)
      .map(({ metadata }) => metadata["status"]);
  proxy.cut();
  await all.until(() => expect(statuses()).toEqual(["degraded: database"]), 20_000);
  proxy.restore();
  await all.until(() => expect(statuses()).toEqual(["degraded: database", "healthy"]), 20_000);
  expect(all.types()).toContain(SystemEventType.WARNING);
  expect(own.events).toEqual([]);
  for (const listening of open.splice(0)) await listening[Symbol.asyncDispose]();
  await far.close();
  await proxy.close();
});
