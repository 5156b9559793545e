/** Sessions as a worker sees them. */
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { AckLevel, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  FlowAction,
  RejectionCode,
  SessionClosedReason,
  SessionEndedSchema,
  SessionState,
} from "../../gen/tributary/v1/session_pb.ts";
import { useServer } from "../support/server.ts";
import { openSession, SessionCall } from "../support/session-call.ts";
import { until } from "../support/until.ts";
import { newWorkflow, readAll } from "./trees.ts";

const server = useServer();

const texts = (count: number, from = 1) => Array.from({ length: count }, (_, i) => `${from + i}`);
const begin = async (session?: Parameters<typeof openSession>[2]) => {
  const workflowId = await newWorkflow(server.acme);
  return { workflowId, call: await openSession(server.acme, workflowId, session) };
};
/** What is stored, without the workflow's own entries. */
const stored = async (workflowId: string) =>
  (await readAll(server.acme, workflowId))
    .filter(({ taskExecutionId }) => taskExecutionId !== "")
    .map(({ payload }) => String(payload.value));

describe("numbers and acknowledgements", () => {
  test("a thousand pipelined entries are acknowledged in order and stored once", async () => {
    const { workflowId, call } = await begin();
    for (let first = 1; first <= 1000; first += 10) call.batch(first, texts(10, first));
    const ack = await call.durable(1000);
    const acks = call.all("ack").map(({ upToSequence }) => upToSequence);
    expect(acks).toEqual(acks.toSorted((a, b) => Number(a - b)));
    expect(ack).toMatchObject({ level: AckLevel.DURABLE, lastOffset: 1001n, credit: 1000 });
    expect(await stored(workflowId)).toEqual(texts(1000));
    call.say("close", { drain: true });
    expect(await call.closed()).toMatchObject({
      reason: SessionClosedReason.CLIENT,
      finalSequence: 1000n,
      lastOffset: 1001n,
      discarded: 0,
    });
  });

  test.each([1, 2, 5])(
    "a gap of %i is answered with the expected number, and the stream goes on",
    async (gap) => {
      const { workflowId, call } = await begin();
      call.batch(1, texts(3));
      call.batch(4 + gap, ["beyond"]);
      call.batch(5 + gap, ["dropped without an answer"]);
      call.batch(4, ["4"]);
      await call.durable(4);
      expect(call.all("rejected")).toMatchObject([
        {
          sequence: BigInt(4 + gap),
          expectedSequence: 4n,
          code: RejectionCode.SEQUENCE_GAP,
          final: false,
        },
      ]);
      expect(await stored(workflowId)).toEqual(texts(4));
      call.cut();
    },
  );

  test("a repetition is answered once a batch, and the rest of it is taken", async () => {
    const { workflowId, call } = await begin();
    call.batch(1, texts(3));
    call.batch(2, texts(4, 2));
    await call.durable(5);
    expect(call.all("rejected")).toMatchObject([
      { sequence: 2n, expectedSequence: 4n, code: RejectionCode.SEQUENCE_DUPLICATE, final: false },
    ]);
    expect(await stored(workflowId)).toEqual(texts(5));
    call.cut();
  });

  test("who asks for ACCEPTED hears both levels, and DURABLE never before", async () => {
    const { call } = await begin({ ackLevel: AckLevel.ACCEPTED });
    call.batch(1, texts(5));
    await call.durable(5);
    const acks = call.all("ack");
    expect(acks.some(({ level }) => level === AckLevel.ACCEPTED)).toBe(true);
    expect(acks[0]).toMatchObject({ level: AckLevel.ACCEPTED, upToSequence: 5n, credit: 995 });
    call.cut();
  });

  test("one poison entry among a thousand costs exactly itself", async () => {
    const { workflowId, call } = await begin();
    const events = texts(1000).map((value) => ({
      taskExecutionId: value === "500" ? "" : "task",
      type: EventType.TOKEN,
      payload: { case: "text" as const, value },
    }));
    for (let at = 0; at < 1000; at += 100) {
      call.say("batch", { firstSequence: BigInt(at + 1), events: events.slice(at, at + 100) });
    }
    await call.durable(1000);
    expect(call.all("rejected")).toMatchObject([
      {
        sequence: 500n,
        code: RejectionCode.INVALID,
        final: true,
        message: expect.stringContaining("task_execution_id"),
      },
    ]);
    expect(await stored(workflowId)).toEqual(texts(1000).filter((text) => text !== "500"));
    call.cut();
  });

  test("entries after a task's end, of a closed workflow, or too large are rejected for good, each alone", async () => {
    const { workflowId, call } = await begin();
    const { workflow } = await server.acme.workflows.createWorkflow({
      parentWorkflowId: workflowId,
      name: "child",
    });
    const child = workflow?.workflowId ?? "";
    await server.acme.workflows.closeWorkflow({ workflowId: child, status: WorkflowStatus.COMPLETED });
    const text = (value: string) => ({ case: "text" as const, value });
    call.say("batch", {
      firstSequence: 1n,
      events: [
        { taskExecutionId: "a", type: EventType.COMPLETED },
        { taskExecutionId: "a", type: EventType.TOKEN, payload: text("late") },
        { workflowId: child, taskExecutionId: "b", type: EventType.TOKEN, payload: text("closed") },
        { taskExecutionId: "b", type: EventType.TOKEN, payload: text("x".repeat(1024 * 1024 + 1)) },
        { workflowId: crypto.randomUUID(), taskExecutionId: "b", type: EventType.TOKEN },
        { taskExecutionId: "b", type: EventType.TOKEN, payload: text("good") },
      ],
    });
    await call.durable(6);
    expect(call.all("rejected").map(({ sequence, code, final }) => [Number(sequence), code, final])).toEqual([
      [2, RejectionCode.TASK_CLOSED, true],
      [3, RejectionCode.WORKFLOW_CLOSED, true],
      [4, RejectionCode.TOO_LARGE, true],
      [5, RejectionCode.INVALID, true],
    ]);
    expect((await stored(workflowId)).at(-1)).toBe("good");
    call.cut();
  });

  test("beyond the credit entries are refused, and taken when they come again", async () => {
    const { workflowId, call } = await begin({ clientBufferSize: 5 });
    expect(call.all("initAck")[0]).toMatchObject({ credit: 5 });
    call.batch(1, texts(8));
    await call.durable(5);
    expect(call.all("rejected")).toMatchObject([
      { sequence: 6n, expectedSequence: 6n, code: RejectionCode.CREDIT_EXCEEDED, final: false },
    ]);
    call.batch(6, texts(3, 6));
    await call.durable(8);
    expect(await stored(workflowId)).toEqual(texts(8));
    call.cut();
  });

  test("bad messages are answered and end nothing", async () => {
    const { workflowId, call } = await begin();
    call.send({});
    call.say("flow", { action: FlowAction.UNSPECIFIED });
    call.say("flow", { action: FlowAction.SLOW_DOWN, preferredRate: -1 });
    call.say("batch", { firstSequence: 1n });
    call.batch(0, ["zero"]);
    call.say("close", { drain: true, lastSequence: 7n });
    call.batch(1, ["1"]);
    await call.durable(1);
    expect(call.all("rejected").map(({ code, sequence }) => [code, Number(sequence)])).toEqual([
      [RejectionCode.BAD_MESSAGE, 0],
      [RejectionCode.BAD_MESSAGE, 0],
      [RejectionCode.BAD_MESSAGE, 0],
      [RejectionCode.BAD_MESSAGE, 0],
      [RejectionCode.BAD_MESSAGE, 0],
      [RejectionCode.SEQUENCE_GAP, 7],
    ]);
    expect(await stored(workflowId)).toEqual(["1"]);
    call.cut();
  });
});

describe("flow", () => {
  test("while paused entries are refused; after it they are taken", async () => {
    const { workflowId, call } = await begin();
    call.batch(1, texts(2));
    await call.durable(2);
    call.say("flow", { action: FlowAction.PAUSE });
    call.batch(3, ["3"]);
    call.batch(4, ["4"]);
    await until(() => expect(call.all("rejected")).toHaveLength(1));
    expect(call.all("rejected")[0]).toMatchObject({
      sequence: 3n,
      expectedSequence: 3n,
      code: RejectionCode.PAUSED,
    });
    call.say("flow", { action: FlowAction.RESUME });
    call.batch(3, texts(2, 3));
    await call.durable(4);
    expect(call.all("status").map(({ state }) => state)).toEqual([SessionState.PAUSED, SessionState.ACTIVE]);
    expect(await stored(workflowId)).toEqual(texts(4));
    call.cut();
  });

  test("every flow message is answered with the state; a rate bounds the acks", async () => {
    const { call } = await begin();
    call.say("flow", { action: FlowAction.BUFFER_STATUS, bufferRemaining: 10 });
    call.say("flow", { action: FlowAction.SLOW_DOWN, preferredRate: 2 });
    await until(() => expect(call.all("status")).toHaveLength(2));
    expect(call.all("status")[0]).toMatchObject({ state: SessionState.ACTIVE, queueCapacity: 100_000 });
    for (let i = 1; i <= 50; i++) call.batch(i, [`${i}`]);
    await call.durable(50);
    // Fifty batches in less than a second or two, told in a few acks.
    expect(call.all("ack").length).toBeLessThan(10);
    call.cut();
  });
});

describe("the life of a session", () => {
  test("a resume returns the last settled number, repeats final rejections, and closes the older connection", async () => {
    const { workflowId, call } = await begin();
    call.batch(1, texts(3));
    call.say("batch", { firstSequence: 4n, events: [{ taskExecutionId: "", type: EventType.TOKEN }] });
    await call.durable(4);
    const { sessionId } = await call.opened();
    const second = await openSession(server.acme, workflowId, { sessionId: sessionId.toUpperCase() });
    expect(await second.opened()).toMatchObject({
      sessionId,
      lastSequence: 4n,
      rejected: [{ sequence: 4n, code: RejectionCode.INVALID, final: true }],
    });
    expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.SUPERSEDED, finalSequence: 4n });
    second.batch(5, ["5"]);
    await second.durable(5);
    expect(await stored(workflowId)).toEqual(["1", "2", "3", "5"]);
    second.cut();
  });

  test("a half-closed call detaches the session after all is settled; it can be resumed", async () => {
    const { workflowId, call } = await begin();
    call.batch(1, texts(100));
    call.halfClose();
    expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.DETACHED, finalSequence: 100n });
    const { sessionId } = await call.opened();
    const again = await openSession(server.acme, workflowId, { sessionId });
    expect(await again.opened()).toMatchObject({ lastSequence: 100n });
    again.cut();
  });

  test("a broken call detaches it too", async () => {
    const { workflowId, call } = await begin();
    call.batch(1, texts(10));
    await call.durable(10);
    const { sessionId } = await call.opened();
    call.cut();
    await until(async () => {
      const { sessions } = await server.admin.admin.listSessions({ sessionId });
      expect(sessions).toMatchObject([
        { state: SessionState.DETACHED, workflowId, tenantSlug: "acme", lastSequence: 10n, epoch: 1n },
      ]);
    });
  });

  test("a closed session cannot be resumed, and says where it ended", async () => {
    const { workflowId, call } = await begin();
    call.batch(1, texts(2));
    call.say("close", { drain: true, lastSequence: 2n });
    await call.closed();
    const { sessionId } = await call.opened();
    const error = ConnectError.from(
      await openSession(server.acme, workflowId, { sessionId }).catch((e: unknown) => e),
    );
    expect(error.code).toBe(Code.FailedPrecondition);
    expect(error.findDetails(SessionEndedSchema)).toMatchObject([{ lastSequence: 2n }]);
  });

  test("an administrator closes it: the worker is told, and it is over", async () => {
    const { workflowId, call } = await begin();
    call.batch(1, texts(2));
    await call.durable(2);
    const { sessionId } = await call.opened();
    const { session } = await server.acme.admin.closeSession({ sessionId });
    expect(session).toMatchObject({ sessionId, state: SessionState.CLOSED, lastSequence: 2n });
    expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.ADMIN, finalSequence: 2n });
    await expect(openSession(server.acme, workflowId, { sessionId })).rejects.toMatchObject({
      code: Code.FailedPrecondition,
    });
    expect((await server.globex.admin.listSessions({})).sessions).toEqual([]);
    await expect(server.globex.admin.closeSession({ sessionId })).rejects.toMatchObject({
      code: Code.PermissionDenied,
    });
  });

  test("who asks for a stop reaches the producers of that workflow and below, also after a resume", async () => {
    const { workflowId, call } = await begin();
    const { workflow } = await server.acme.workflows.createWorkflow({
      parentWorkflowId: workflowId,
      name: "child",
    });
    const child = await openSession(server.acme, workflow?.workflowId ?? "");
    const stranger = await begin();
    await server.acme.workflows.requestCancel({ workflowId, reason: "enough" });
    for (const told of [call, child]) {
      await until(() =>
        expect(told.all("cancelRequested")).toMatchObject([{ workflowId, reason: "enough" }]),
      );
    }
    const { sessionId } = await child.opened();
    const resumed = await openSession(server.acme, workflow?.workflowId ?? "", { sessionId });
    await until(() =>
      expect(resumed.all("cancelRequested")).toMatchObject([{ workflowId, reason: "enough" }]),
    );
    expect(stranger.call.all("cancelRequested")).toEqual([]);
    for (const each of [call, resumed, stranger.call]) each.cut();
  });

  test("a server that stops flushes, says so, and the session goes on at the next one", async () => {
    const { workflowId, call } = await begin();
    for (let first = 1; first <= 500; first += 10) call.batch(first, texts(10, first));
    await call.durable(1);
    const restarted = server.restart();
    const closed = await call.closed();
    expect(closed).toMatchObject({ reason: SessionClosedReason.DRAINING });
    expect(closed.reconnectAfterMs).toBeGreaterThan(0);
    await restarted;
    const { sessionId } = await call.opened();
    const again = await openSession(server.acme, workflowId, { sessionId });
    const { lastSequence } = await again.opened();
    expect(lastSequence).toBe(closed.finalSequence);
    const next = Number(lastSequence) + 1;
    again.batch(next, texts(601 - next, next));
    await again.durable(600);
    expect(await stored(workflowId)).toEqual(texts(600));
    again.cut();
  });
});

describe("what is wrong with the call is its status", () => {
  const first = async (name: "batch" | "flow" | "heartbeat") => {
    const call = new SessionCall(server.acme);
    call.say(name, {} as never);
    return call.ended;
  };

  test("without init first, or with a second one", async () => {
    for (const name of ["batch", "flow", "heartbeat"] as const) {
      await expect(first(name)).rejects.toMatchObject({ code: Code.FailedPrecondition });
    }
    const { workflowId, call } = await begin();
    call.say("init", { workflowId });
    await expect(call.ended).rejects.toMatchObject({ code: Code.FailedPrecondition });
  });

  test("an unknown or foreign workflow or session, another target, a malformed id", async () => {
    const { workflowId, call } = await begin();
    const { sessionId } = await call.opened();
    const foreign = await newWorkflow(server.globex);
    const other = await newWorkflow(server.acme);
    const cases: [workflowId: string, sessionId: string, code: Code][] = [
      [crypto.randomUUID(), "", Code.NotFound],
      [foreign, "", Code.PermissionDenied],
      ["x", "", Code.InvalidArgument],
      [workflowId, crypto.randomUUID(), Code.NotFound],
      [workflowId, "x", Code.InvalidArgument],
      [other, sessionId, Code.FailedPrecondition],
    ];
    for (const [id, session, code] of cases) {
      await expect(openSession(server.acme, id, { sessionId: session })).rejects.toMatchObject({ code });
    }
    await expect(openSession(server.globex, foreign, { sessionId })).rejects.toMatchObject({
      code: Code.PermissionDenied,
    });
    call.batch(1, ["1"]);
    await call.durable(1);
    call.cut();
  });
});
