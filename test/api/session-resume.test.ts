/** Resuming a session: where it goes on, who loses it, and what cannot be resumed. */
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { AckLevel, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  Priority,
  RejectionCode,
  SessionClosedReason,
  SessionEndedSchema,
  SessionState,
} from "../../gen/tributary/v1/session_pb.ts";
import { useServer } from "../support/server.ts";
import { aToken, openSession, SessionCall } from "../support/session-call.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { until } from "../support/until.ts";
import { errorOf } from "./codes.ts";
import { begin, stored, texts } from "./session-world.ts";
import { newFamily, newWorkflow } from "./trees.ts";

const server = useServer();
const epochOf = async (sessionId: string) =>
  (await server.admin.admin.listSessions({ sessionId })).sessions[0]?.epoch;

describe("resume", () => {
  test("raises the epoch, closes the older connection as SUPERSEDED, and goes on at the last settled number", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.events(1, [aToken("1"), aToken("2", { taskExecutionId: "" })]);
    await call.durable(2);
    const epoch = await epochOf(sessionId);
    const second = await openSession(server.acme, workflowId.toUpperCase(), {
      sessionId: sessionId.toUpperCase(),
    });
    expect(await second.opened()).toMatchObject({ sessionId, lastSequence: 2n, credit: 1000 });
    expect(await call.closed()).toMatchObject({
      reason: SessionClosedReason.SUPERSEDED,
      finalSequence: 2n,
      lastOffset: 2n,
      discarded: 0,
    });
    expect(await epochOf(sessionId)).toBeGreaterThan(epoch ?? 0n);
    second.batch(3, ["3"]);
    await second.durable(3);
    expect(await stored(server.acme, workflowId)).toEqual(["1", "3"]);
  });

  test("settles first what the older connection still had waiting", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
    const lock = await holdStreams(server.database.url, workflowId);
    for (let n = 1; n <= 200; n++) call.batch(n, [`${n}`]);
    await call.accepted(200);
    const second = new SessionCall(server.acme);
    second.say("init", { workflowId, session: { sessionId } });
    await lock.release();
    const { lastSequence } = await second.opened();
    expect(lastSequence).toBe(200n);
    expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.SUPERSEDED });
    second.batch(201, ["201"]);
    await second.durable(201);
    expect(await stored(server.acme, workflowId)).toEqual(texts(201));
  });

  test("of a session cut off with entries waiting settles them too", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
    const lock = await holdStreams(server.database.url, workflowId);
    for (let n = 1; n <= 200; n++) call.batch(n, [`${n}`]);
    await call.accepted(200);
    call.cut();
    const second = new SessionCall(server.acme);
    second.say("init", { workflowId, session: { sessionId } });
    await lock.release();
    expect(await second.opened()).toMatchObject({ lastSequence: 200n });
    expect(await stored(server.acme, workflowId)).toEqual(texts(200));
  });

  test("by three connections at once leaves exactly one; each number is stored once", async () => {
    const { workflowId, sessionId } = await begin(server.acme);
    const calls = await Promise.all([0, 1, 2].map(() => openSession(server.acme, workflowId, { sessionId })));
    for (const call of calls) call.batch(1, texts(5));
    const ends = await Promise.all(
      calls.map((call) =>
        Promise.race([
          call.durable(5).then(() => "durable"),
          call.closed().then(({ reason }) => reason),
        ]).catch(() => "neither"),
      ),
    );
    await until(() => expect(calls.filter((call) => call.all("closed").length === 1)).toHaveLength(2));
    for (const call of calls) {
      for (const { reason } of call.all("closed")) expect(reason).toBe(SessionClosedReason.SUPERSEDED);
    }
    expect(ends.filter((end) => end === "durable").length).toBeGreaterThanOrEqual(1);
    expect(await stored(server.acme, workflowId)).toEqual(texts(5));
  });

  test("takes other wishes than before", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme, { clientBufferSize: 5 });
    call.batch(1, ["1"]);
    await call.durable(1);
    const second = await openSession(server.acme, workflowId, {
      sessionId,
      ackLevel: AckLevel.ACCEPTED,
      priority: Priority.HIGH,
      clientBufferSize: 50,
      maxBatchSize: 2,
    });
    expect(await second.opened()).toMatchObject({
      credit: 50,
      lastSequence: 1n,
      capabilities: { queueCapacity: 10_000, maxBatchSize: 2 },
    });
    second.batch(2, ["2"]);
    await second.accepted(2);
    await second.durable(2);
  });

  test("tells the newest hundred final rejections", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.events(
      1,
      texts(250).map((text) => aToken(text, Number(text) % 2 === 0 ? {} : { taskExecutionId: "" })),
    );
    await call.durable(250);
    expect(call.all("rejected")).toHaveLength(125);
    const second = await openSession(server.acme, workflowId, { sessionId });
    const { rejected } = await second.opened();
    expect(rejected.map(({ sequence }) => Number(sequence))).toEqual(
      texts(250)
        .map(Number)
        .filter((n) => n % 2 === 1)
        .slice(-100),
    );
    for (const each of rejected) {
      expect(each).toMatchObject({ code: RejectionCode.INVALID, final: true });
      expect(each.message).toContain("task_execution_id");
    }
  });

  test("of a session whose workflow was closed meanwhile: entries are rejected for good, one by one", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.batch(1, ["1"]);
    await call.durable(1);
    call.cut();
    await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    const second = new SessionCall(server.acme);
    second.say("init", { workflowId, session: { sessionId } });
    expect(await second.opened()).toMatchObject({ lastSequence: 1n });
    second.batch(2, ["2"]);
    await second.durable(2);
    expect(second.rejections().map(([code, , , final]) => [code, final])).toEqual([
      [RejectionCode.WORKFLOW_CLOSED, true],
    ]);
  });

  test("goes on after a restart of the server", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.batch(1, texts(50));
    await call.durable(50);
    const restarting = server.restart();
    const closed = await call.closed();
    expect(closed).toMatchObject({ reason: SessionClosedReason.DRAINING, finalSequence: 50n });
    expect(call.all("status").map(({ state }) => state)).toContain(SessionState.DRAINING);
    await restarting;
    const second = await openSession(server.acme, workflowId, { sessionId });
    expect(await second.opened()).toMatchObject({ lastSequence: 50n });
    second.batch(51, ["51"]);
    await second.durable(51);
    expect(await stored(server.acme, workflowId)).toEqual(texts(51));
  });
});

describe("what cannot be resumed", () => {
  test("an unknown session, another tenant's, one of another workflow, a malformed id", async () => {
    const { root, child } = await newFamily(server.acme);
    const call = await openSession(server.acme, child);
    const { sessionId } = await call.opened();
    const other = await newWorkflow(server.acme);
    const foreign = await newWorkflow(server.globex);
    const cases = [
      [server.acme, child, crypto.randomUUID(), Code.NotFound],
      [server.acme, root, sessionId, Code.FailedPrecondition],
      [server.acme, other, sessionId, Code.FailedPrecondition],
      [server.acme, child, "no-uuid", Code.InvalidArgument],
      [server.globex, foreign, sessionId, Code.PermissionDenied],
      [server.globex, child, sessionId, Code.PermissionDenied],
      [server.globex, child, "", Code.PermissionDenied],
      [server.acme, crypto.randomUUID(), "", Code.NotFound],
    ] as const;
    for (const [clients, workflowId, id, code] of cases) {
      const error = await errorOf(openSession(clients, workflowId, { sessionId: id }));
      expect(Code[error.code]).toBe(Code[code]);
    }
    // None of them disturbed it.
    call.batch(1, ["1"]);
    await call.durable(1);
    expect(await epochOf(sessionId)).toBe(1n);
  });

  test("an expired one, whether it was swept or not: FAILED_PRECONDITION, with where it ended", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.batch(1, texts(3));
    await call.durable(3);
    call.cut();
    await until(async () => {
      const { sessions } = await server.admin.admin.listSessions({ sessionId });
      expect(sessions).toMatchObject([{ state: SessionState.DETACHED }]);
    });
    const { sessions } = await server.admin.admin.listSessions({ sessionId });
    const { leaseExpiresMs = 0n, lastActivityMs = 0n } = sessions[0] ?? {};
    expect(leaseExpiresMs - lastActivityMs).toBeGreaterThan(295_000n);
    expect(leaseExpiresMs - lastActivityMs).toBeLessThanOrEqual(305_000n);
    // As if the lease had run out.
    await server.pool.query("update session set lease_expires_ms = 1 where session_id = $1", [sessionId]);
    const error = await errorOf(openSession(server.acme, workflowId, { sessionId }));
    expect(error.code).toBe(Code.FailedPrecondition);
    expect(error.findDetails(SessionEndedSchema)).toMatchObject([{ lastSequence: 3n }]);
  });

  test("a closed one also after a restart, and by the close's own numbers", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.batch(1, texts(3));
    call.say("close", { drain: true });
    const { finalSequence } = await call.closed();
    await server.restart();
    const error = await errorOf(openSession(server.acme, workflowId, { sessionId }));
    expect(error.code).toBe(Code.FailedPrecondition);
    expect(error.findDetails(SessionEndedSchema)).toMatchObject([{ lastSequence: finalSequence }]);
  });
});

test("a session of a tree that was deleted hears that its entries are not stored, or that it is over", async () => {
  const { workflowId, call, sessionId } = await begin(server.acme);
  call.batch(1, ["1"]);
  await call.durable(1);
  await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
  await server.acme.workflows.deleteWorkflowTree({ workflowId });
  call.batch(2, ["2"]);
  await until(() => expect(call.all("closed").length + call.all("rejected").length).toBeGreaterThan(0));
  call.halfClose();
  await call.closed();
  const again = await errorOf(openSession(server.acme, workflowId, { sessionId }));
  expect([Code.NotFound, Code.FailedPrecondition]).toContain(again.code);
});

describe("a request to stop", () => {
  test("that is pending is told right after the answer to init, to new and to resumed sessions", async () => {
    const { root, child, sibling } = await newFamily(server.acme);
    const before = await openSession(server.acme, child);
    const beside = await openSession(server.acme, sibling);
    await server.acme.workflows.requestCancel({ workflowId: child, reason: "enough" });
    const told = { case: "cancelRequested", value: { workflowId: child, reason: "enough" } };
    await until(() => expect(before.replies).toContainEqual(expect.objectContaining({ case: told.case })));
    const { sessionId } = await before.opened();
    for (const call of [
      await openSession(server.acme, child),
      await openSession(server.acme, child, { sessionId }),
    ]) {
      await until(() => expect(call.replies[1]).toMatchObject(told));
      // It is a request: entries are still taken.
      const { lastSequence } = await call.opened();
      call.batch(Number(lastSequence) + 1, ["on"]);
      await call.durable(Number(lastSequence) + 1);
    }
    await beside.heard();
    expect(beside.all("cancelRequested")).toEqual([]);
    expect((await stored(server.acme, root)).filter((text) => text === "on")).toHaveLength(2);
  });
});
