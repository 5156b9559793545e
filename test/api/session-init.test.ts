/** The first message of a session: what may be asked for, what the server says it can do, and what ends the call. */
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { type AckLevel, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  Priority,
  RejectionCode,
  SessionClosedReason,
  SessionState,
} from "../../gen/tributary/v1/session_pb.ts";
import { createTenant, useServer } from "../support/server.ts";
import { openSession, SessionCall } from "../support/session-call.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { until } from "../support/until.ts";
import { errorOf } from "./codes.ts";
import { begin, type InitOptions, stored, texts } from "./session-world.ts";
import { newWorkflow } from "./trees.ts";

const server = useServer();
const MiB = 1024 * 1024;

describe("the answer", () => {
  test("says the session's id, a full window and what the server can do", async () => {
    const { call } = await begin(server.acme);
    expect(call.replies[0]?.case).toBe("initAck");
    const ack = await call.opened();
    expect(ack).toMatchObject({
      sessionId: expect.stringMatching(
        /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
      ),
      lastSequence: 0n,
      credit: 1000,
      creditBytes: BigInt(4 * MiB),
      rejected: [],
      capabilities: {
        maxBatchSize: 1000,
        queueCapacity: 100_000,
        maxEventsPerSecond: 0,
        supportsBackpressure: true,
        supportsSnapshotIsolation: true,
      },
    });
  });

  test.each([
    ["UNSPECIFIED, which means NORMAL,", Priority.UNSPECIFIED, 100_000],
    ["HIGH", Priority.HIGH, 10_000],
    ["NORMAL", Priority.NORMAL, 100_000],
    ["LOW", Priority.LOW, 50_000],
  ])("names the capacity of the lane of priority %s", async (_, priority, queueCapacity) => {
    const { call } = await begin(server.acme, { priority });
    expect(await call.opened()).toMatchObject({ capabilities: { queueCapacity } });
    expect(await call.heard()).toMatchObject({ queueCapacity });
  });

  test.each([
    [1, 1],
    [7, 7],
    [1000, 1000],
    [1_000_000, 1000],
  ])("gives who can keep %i entries a window of %i", async (clientBufferSize, credit) => {
    const { call } = await begin(server.acme, { clientBufferSize });
    expect(await call.opened()).toMatchObject({ credit });
  });

  test("repeats the batch size that was asked for, and larger batches are not taken", async () => {
    const { workflowId, call } = await begin(server.acme, { maxBatchSize: 3 });
    expect(await call.opened()).toMatchObject({ capabilities: { maxBatchSize: 3 } });
    call.batch(1, texts(3));
    call.batch(4, texts(4, 4));
    await call.durable(3);
    await call.heard();
    expect(call.all("rejected")).toHaveLength(1);
    expect(call.all("rejected")[0]).toMatchObject({ final: false, expectedSequence: 4n });
    call.batch(4, texts(3, 4));
    await call.durable(6);
    expect(await stored(server.acme, workflowId)).toEqual(texts(6));
  });

  test("takes a batch of 1,000 and not one of 1,001", async () => {
    const { workflowId, call } = await begin(server.acme);
    call.batch(1, texts(1000));
    await call.durable(1000);
    call.batch(1001, texts(1001, 1001));
    await call.heard();
    expect(call.all("rejected")).toHaveLength(1);
    call.batch(1001, texts(1000, 1001));
    await call.durable(2000);
    expect(await stored(server.acme, workflowId)).toEqual(texts(2000));
  });

  test("takes ids in upper case", async () => {
    const workflowId = await newWorkflow(server.acme);
    const call = await openSession(server.acme, workflowId.toUpperCase());
    call.batch(1, ["1"]);
    await call.durable(1);
    expect(await stored(server.acme, workflowId)).toEqual(["1"]);
    const { sessionId } = await call.opened();
    const { sessions } = await server.admin.admin.listSessions({ sessionId });
    expect(sessions).toMatchObject([{ workflowId }]);
  });

  test("comes also without any wish", async () => {
    const workflowId = await newWorkflow(server.acme);
    const call = new SessionCall(server.acme);
    call.say("init", { workflowId });
    expect(await call.opened()).toMatchObject({ credit: 1000, lastSequence: 0n });
  });

  test("each new session has an id of its own, and numbers of its own", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    const second = await openSession(server.acme, workflowId);
    expect((await second.opened()).sessionId).not.toBe(sessionId);
    call.batch(1, ["a"]);
    await call.durable(1);
    second.batch(1, ["b"]);
    await second.durable(1);
    expect(await stored(server.acme, workflowId)).toEqual(["a", "b"]);
  });

  test("of a closed workflow: nothing is stored, and it is said why", async () => {
    const workflowId = await newWorkflow(server.acme);
    await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    const call = new SessionCall(server.acme);
    call.say("init", { workflowId });
    call.batch(1, ["late"]);
    const failed = call.ended.then(
      () => "OK",
      (error: unknown) => Code[ConnectError.from(error).code],
    );
    const rejected = call.nth("rejected", 1).then(({ code, final }) => `${code} ${final}`);
    expect(["FailedPrecondition", `${RejectionCode.WORKFLOW_CLOSED} true`]).toContain(
      await Promise.race([failed, rejected.catch(() => failed)]),
    );
    expect(await stored(server.acme, workflowId)).toEqual([]);
  });
});

describe("who does not wait for the answer", () => {
  test("may send entries and the close right after init", async () => {
    const workflowId = await newWorkflow(server.acme);
    const call = new SessionCall(server.acme);
    call.say("init", { workflowId });
    for (let first = 1; first <= 1000; first += 100) call.batch(first, texts(100, first));
    call.say("close", { drain: true, lastSequence: 1000n });
    call.halfClose();
    expect(await call.closed()).toMatchObject({
      reason: SessionClosedReason.CLIENT,
      finalSequence: 1000n,
    });
    expect(call.rejections()).toEqual([]);
    expect(await stored(server.acme, workflowId)).toEqual(texts(1000));
  });

  test("may half-close at once: the session is DETACHED with everything stored", async () => {
    const workflowId = await newWorkflow(server.acme);
    const call = new SessionCall(server.acme);
    call.say("init", { workflowId });
    call.batch(1, texts(100));
    call.halfClose();
    expect(await call.closed()).toMatchObject({
      reason: SessionClosedReason.DETACHED,
      finalSequence: 100n,
    });
    expect(await stored(server.acme, workflowId)).toEqual(texts(100));
  });

  test.each(["a new session", "a resumed one"])(
    "and breaks off before it comes leaves %s without a connection, not attached for ever",
    async (which) => {
      const { workflowId, call: before, sessionId } = await begin(server.acme);
      before.halfClose();
      await before.closed();
      const lock = await holdStreams(server.database.url, workflowId);
      const call = new SessionCall(server.acme);
      call.say("init", { workflowId, session: which === "a new session" ? {} : { sessionId } });
      await until(() => expect(server.server.gauges().waitingCommands).toBe(1));
      call.cut();
      await lock.release();
      await until(() => expect(server.server.gauges()).toMatchObject({ openCalls: 0, waitingCommands: 0 }));
      await until(async () => {
        const { sessions } = await server.acme.admin.listSessions({ pageSize: 1000 });
        const here = sessions.filter((session) => session.workflowId === workflowId);
        expect(here.filter(({ state }) => state !== SessionState.DETACHED)).toEqual([]);
      });
    },
  );
});

describe("quotas", () => {
  test("the rate is told, and what is over it is refused for a while", async () => {
    const slow = await createTenant(server.admin, "slow");
    await server.admin.admin.updateTenant({ slug: "slow", limits: { maxEventsPerSecond: 50 } });
    const workflowId = await newWorkflow(slow);
    const call = await openSession(slow, workflowId);
    expect(await call.opened()).toMatchObject({ capabilities: { maxEventsPerSecond: 50 } });
    for (let first = 1; first <= 1000; first += 50) call.batch(first, texts(50, first));
    const rejected = await call.nth("rejected", 1);
    expect(rejected).toMatchObject({ code: RejectionCode.RATE_LIMITED, final: false });
    expect(rejected.sequence).toBe(rejected.expectedSequence);
    expect(rejected.retryAfterMs).toBeGreaterThan(0);
    expect(rejected.retryAfterMs).toBeLessThan(30_000);
  });

  test("over the tenant's number of sessions the call is refused, until one has ended", async () => {
    const few = await createTenant(server.admin, "few");
    await server.admin.admin.updateTenant({ slug: "few", limits: { maxSessions: 2 } });
    const workflowId = await newWorkflow(few);
    const calls = [await openSession(few, workflowId), await openSession(few, workflowId)];
    const error = await errorOf(openSession(few, workflowId));
    expect(error.code).toBe(Code.ResourceExhausted);
    calls[0]?.cut(); // Detached ones count.
    expect((await errorOf(openSession(few, workflowId))).code).toBe(Code.ResourceExhausted);
    calls[1]?.say("close", { drain: true });
    await calls[1]?.closed();
    await openSession(few, workflowId);
    // To resume is not to open another one.
    const { sessionId = "" } = (await calls[0]?.opened()) ?? {};
    await openSession(few, workflowId, { sessionId });
  });
});

describe("what ends the call", () => {
  const refused = async (session: InitOptions, workflowId?: string) =>
    errorOf(openSession(server.acme, workflowId ?? (await newWorkflow(server.acme)), session));

  test.each<[string, NonNullable<InitOptions>]>([
    ["session_id", { sessionId: "no-uuid" }],
    ["ack_level", { ackLevel: 9 as AckLevel }],
    ["max_batch_size", { maxBatchSize: 1001 }],
    ["priority", { priority: 9 as Priority }],
  ])("a malformed %s is INVALID_ARGUMENT and named", async (field, session) => {
    const error = await refused(session);
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.message).toContain(field);
  });

  test.each(["", "no-uuid", "0198f3a2"])("the workflow id %j is INVALID_ARGUMENT and named", async (id) => {
    const error = await refused({}, id);
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.message).toContain("workflow_id");
  });

  test("a batch, flow, close or heartbeat before init is FAILED_PRECONDITION", async () => {
    for (const name of ["batch", "flow", "close", "heartbeat"] as const) {
      const call = new SessionCall(server.acme);
      call.say(name, {} as never);
      call.halfClose();
      expect((await errorOf(call.ended)).code, name).toBe(Code.FailedPrecondition);
    }
  });

  test("a second init is FAILED_PRECONDITION; the session is detached, and what was accepted is stored", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.batch(1, texts(3));
    call.say("init", { workflowId, session: {} });
    call.batch(4, ["never"]);
    expect((await errorOf(call.ended)).code).toBe(Code.FailedPrecondition);
    const again = await openSession(server.acme, workflowId, { sessionId });
    expect(await again.opened()).toMatchObject({ lastSequence: 3n });
    expect(await stored(server.acme, workflowId)).toEqual(texts(3));
  });

  test("a call without any message ends", async () => {
    const call = new SessionCall(server.acme);
    call.halfClose();
    await call.ended.catch((error: unknown) => expect(ConnectError.from(error).code).not.toBe(Code.Internal));
  });

  test("a message over 4 MiB is RESOURCE_EXHAUSTED; the session can be resumed", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.batch(1, texts(3));
    await call.durable(3);
    call.batch(4, Array<string>(5).fill("x".repeat(MiB)));
    expect((await errorOf(call.ended)).code).toBe(Code.ResourceExhausted);
    const again = await openSession(server.acme, workflowId, { sessionId });
    expect(await again.opened()).toMatchObject({ lastSequence: 3n });
  });
});
