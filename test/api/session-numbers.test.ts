/** The numbers of a session's entries: exactly the next one is taken; everything else is answered as the contract says. */
import { describe, expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { FlowAction, RejectionCode } from "../../gen/tributary/v1/session_pb.ts";
import { useServer } from "../support/server.ts";
import { aToken, openSession } from "../support/session-call.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { begin, stored, storedEvents, texts } from "./session-world.ts";
import { newFamily, newWorkflow } from "./trees.ts";

const server = useServer();
const MiB = 1024 * 1024;
const { SEQUENCE_GAP, SEQUENCE_DUPLICATE, BAD_MESSAGE, INVALID, TASK_CLOSED, WORKFLOW_CLOSED, TOO_LARGE } =
  RejectionCode;

describe("a gap", () => {
  test("is answered once with both numbers; what follows is dropped until a batch begins at the expected number", async () => {
    const { workflowId, call } = await begin(server.acme);
    call.batch(1, texts(3));
    call.batch(10, texts(5, 10));
    call.batch(15, ["15"]); // goes on from the gap
    call.batch(20, ["20"]); // another gap
    call.batch(2, ["2"]); // a repetition
    call.batch(3, texts(3, 3)); // holds the expected number, does not begin with it
    await call.heard();
    expect(call.rejections()).toEqual([[SEQUENCE_GAP, 10, 4, false]]);
    expect(call.all("rejected")[0]?.message).toMatch(/10.*4|4.*10/);
    call.batch(4, texts(2, 4));
    call.batch(6, texts(1, 6));
    await call.durable(6);
    expect(call.rejections()).toHaveLength(1);
    expect(await stored(server.acme, workflowId)).toEqual(texts(6));
  });

  test("after one that was healed is answered anew", async () => {
    const { workflowId, call } = await begin(server.acme);
    call.batch(2, ["2"]);
    call.batch(1, ["1"]);
    call.batch(3, ["3"]);
    call.batch(4, ["4"]);
    call.batch(2, ["2"]);
    await call.durable(2);
    await call.heard();
    expect(call.rejections()).toEqual([
      [SEQUENCE_GAP, 2, 1, false],
      [SEQUENCE_GAP, 3, 2, false],
    ]);
    expect(await stored(server.acme, workflowId)).toEqual(texts(2));
  });

  test("may be as wide as numbers are", async () => {
    const { call } = await begin(server.acme);
    call.batch(Number.MAX_SAFE_INTEGER, ["last"]);
    await call.heard();
    expect(call.rejections()).toEqual([[SEQUENCE_GAP, Number.MAX_SAFE_INTEGER, 1, false]]);
    call.batch(1, ["1"]);
    await call.durable(1);
  });

  test("does not hide bad messages and flow, and these do not heal it", async () => {
    const { workflowId, call } = await begin(server.acme);
    call.batch(2, ["2"]);
    call.send({});
    expect(await call.heard()).toMatchObject({ queueDepth: 0 });
    call.batch(2, ["2"]);
    await call.heard();
    expect(call.rejections()).toEqual([
      [SEQUENCE_GAP, 2, 1, false],
      [BAD_MESSAGE, 0, 1, false],
    ]);
    call.batch(1, texts(2));
    await call.durable(2);
    expect(await stored(server.acme, workflowId)).toEqual(texts(2));
  });
});

describe("a repetition", () => {
  test("is answered once a batch and drops nothing", async () => {
    const { workflowId, call } = await begin(server.acme);
    call.batch(1, texts(5));
    await call.durable(5);
    call.batch(1, texts(5)); // all known
    call.batch(3, texts(3, 3)); // all known
    call.batch(4, texts(4, 4)); // 6 and 7 are new
    call.batch(8, ["8"]); // follows
    await call.durable(8);
    expect(call.rejections()).toEqual([
      [SEQUENCE_DUPLICATE, 1, 6, false],
      [SEQUENCE_DUPLICATE, 3, 6, false],
      [SEQUENCE_DUPLICATE, 4, 6, false],
    ]);
    expect(await stored(server.acme, workflowId)).toEqual(texts(8));
  });

  test("of what is queued and not yet stored is stored once", async () => {
    const { workflowId, call } = await begin(server.acme);
    const lock = await holdStreams(server.database.url, workflowId);
    call.batch(1, texts(5));
    call.batch(1, texts(6));
    await call.heard();
    await lock.release();
    await call.durable(6);
    expect(call.rejections()).toMatchObject([[SEQUENCE_DUPLICATE, 1, 6, false]]);
    expect(await stored(server.acme, workflowId)).toEqual(texts(6));
  });
});

describe("a bad message", () => {
  test("has sequence 0, says the number that is expected, and drops nothing", async () => {
    const { workflowId, call } = await begin(server.acme);
    call.batch(1, ["1"]);
    const bad: (() => void)[] = [
      () => call.send({}),
      () => call.say("flow", {}),
      () => call.say("flow", { action: 9 as FlowAction }),
      () => call.say("flow", { action: FlowAction.SLOW_DOWN, preferredRate: -1 }),
      () => call.say("flow", { action: FlowAction.SLOW_DOWN, preferredRate: Number.NaN }),
      () => call.say("flow", { action: FlowAction.SLOW_DOWN, preferredRate: Number.POSITIVE_INFINITY }),
      () => call.say("close", { drain: true, lastSequence: 2n ** 53n }),
    ];
    for (const say of bad) say();
    call.batch(2, ["2"]);
    await call.durable(2);
    await call.heard();
    expect(call.rejections()).toEqual(bad.map(() => [BAD_MESSAGE, 0, 2, false]));
    for (const { message } of call.all("rejected")) expect(message.length).toBeGreaterThan(10);
    expect(await stored(server.acme, workflowId)).toEqual(texts(2));
  });

  test.each([
    ["without entries", 2n, 0],
    ["numbered 0", 0n, 1],
    ["numbered beyond 2^53-1", 2n ** 53n, 1],
  ])("a batch %s is answered in the stream and ends nothing", async (_, firstSequence, count) => {
    const { workflowId, call } = await begin(server.acme);
    call.batch(1, ["1"]);
    call.say("batch", { firstSequence, events: texts(count).map((text) => aToken(text)) });
    await call.heard();
    expect(call.all("rejected")).toHaveLength(1);
    expect(call.all("rejected")[0]).toMatchObject({ expectedSequence: 2n, final: false });
    call.batch(2, ["2"]);
    await call.durable(2);
    expect(await stored(server.acme, workflowId)).toEqual(texts(2));
  });
});

describe("a final rejection", () => {
  test.each<[string, string, Parameters<typeof aToken>[1]]>([
    ["no task", "task_execution_id", { taskExecutionId: "" }],
    ["a task of 256 characters", "task_execution_id", { taskExecutionId: "x".repeat(256) }],
    ["a task with a control character", "task_execution_id", { taskExecutionId: "a\nb" }],
    ["a task with U+0000", "task_execution_id", { taskExecutionId: "a\u0000b" }],
    ["no type", "type", { type: EventType.UNSPECIFIED }],
    ["an unknown type", "type", { type: 12 as EventType }],
    ["a type of the server", "type", { type: EventType.WORKFLOW_COMPLETED }],
    ["a malformed workflow", "workflow_id", { workflowId: "no-uuid" }],
    ["an unknown workflow", "workflow_id", { workflowId: "0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6" }],
    ["a time before 1970", "timestamp_ms", { timestampMs: -1n }],
    ["a time beyond 2^53-1", "timestamp_ms", { timestampMs: 2n ** 53n }],
  ])("of an entry with %s names %s, and what follows stands", async (_, field, change) => {
    const { workflowId, call } = await begin(server.acme);
    call.events(1, [aToken("1"), aToken("2", change), aToken("3")]);
    call.batch(4, ["4"]);
    await call.durable(4);
    expect(call.rejections()).toEqual([[INVALID, 2, expect.any(Number), true]]);
    expect(call.all("rejected")[0]?.message).toContain(field);
    expect(await stored(server.acme, workflowId)).toEqual(["1", "3", "4"]);
  });

  test("of entries of another tree, of one's own tenant or of another's, tells them not apart", async () => {
    const { workflowId, call } = await begin(server.acme);
    const own = await newWorkflow(server.acme);
    const foreign = await newWorkflow(server.globex);
    const nowhere = crypto.randomUUID();
    call.events(1, [
      aToken("1", { workflowId: own }),
      aToken("2", { workflowId: foreign }),
      aToken("3", { workflowId: nowhere }),
      aToken("4"),
    ]);
    await call.durable(4);
    expect(call.rejections().map(([code, sequence]) => [code, sequence])).toEqual([
      [INVALID, 1],
      [INVALID, 2],
      [INVALID, 3],
    ]);
    const [, second, third] = call.all("rejected").map(({ message }) => message);
    expect(second?.replaceAll(foreign, "").replaceAll("2", "")).toBe(
      third?.replaceAll(nowhere, "").replaceAll("3", ""),
    );
    for (const [clients, id] of [
      [server.acme, own],
      [server.globex, foreign],
    ] as const) {
      expect(await stored(clients, id)).toEqual([]);
    }
    expect(await stored(server.acme, workflowId)).toEqual(["4"]);
  });

  test("of a payload over 1 MiB, as text or bytes; exactly 1 MiB is taken", async () => {
    const { workflowId, call } = await begin(server.acme);
    const full = "x".repeat(MiB);
    const bytes = (length: number) => ({
      payload: { case: "binary" as const, value: new Uint8Array(length) },
    });
    call.events(1, [aToken(full), aToken(`${full}x`)]);
    await call.durable(2);
    call.events(3, [aToken("", bytes(MiB + 1)), aToken("", bytes(MiB))]);
    call.batch(5, [`${"é".repeat(MiB / 2)}x`]); // counted in bytes
    await call.durable(5);
    expect(call.rejections()).toEqual([
      [TOO_LARGE, 2, expect.any(Number), true],
      [TOO_LARGE, 3, expect.any(Number), true],
      [TOO_LARGE, 5, expect.any(Number), true],
    ]);
    expect((await storedEvents(server.acme, workflowId)).map(({ sequence }) => sequence)).toEqual([1n, 4n]);
  });

  test("of entries after their task's terminal event, whoever wrote it", async () => {
    const { workflowId, call } = await begin(server.acme);
    await server.acme.tasks.streamTaskData({
      workflowExecutionId: workflowId,
      taskExecutionId: "done elsewhere",
      type: EventType.FAILED,
      waitForDurable: true,
    });
    call.events(1, [
      aToken("1", { taskExecutionId: "done elsewhere" }),
      aToken("2", { type: EventType.COMPLETED }),
      aToken("3"),
      aToken("4", { type: EventType.COMPLETED }),
      aToken("5", { taskExecutionId: "another" }),
    ]);
    call.batch(6, ["6"]);
    call.batch(7, ["7"], { taskExecutionId: "another" });
    await call.durable(7);
    expect(call.rejections().map(([code, sequence, , final]) => [code, sequence, final])).toEqual([
      [TASK_CLOSED, 1, true],
      [TASK_CLOSED, 3, true],
      [TASK_CLOSED, 4, true],
      [TASK_CLOSED, 6, true],
    ]);
    expect((await stored(server.acme, workflowId)).slice(1)).toEqual(["2", "5", "7"]);
  });

  test("of entries of a workflow that was closed; the rest of the tree stays open to the session", async () => {
    const { root, child } = await newFamily(server.acme);
    const call = await openSession(server.acme, child);
    call.batch(1, ["1"]);
    await call.durable(1);
    await server.acme.workflows.closeWorkflow({
      workflowId: child,
      status: WorkflowStatus.COMPLETED,
      closeDescendants: true,
    });
    call.events(2, [aToken("2"), aToken("3", { workflowId: root }), aToken("4")]);
    await call.durable(4);
    expect(call.rejections().map(([code, sequence, , final]) => [code, sequence, final])).toEqual([
      [WORKFLOW_CLOSED, 2, true],
      [WORKFLOW_CLOSED, 4, true],
    ]);
    expect(await stored(server.acme, root)).toEqual(["1", "3"]);
  });

  test("moves the number: the same number again is a repetition", async () => {
    const { workflowId, call } = await begin(server.acme);
    call.events(1, [aToken("1", { taskExecutionId: "" })]);
    await call.durable(1);
    call.events(1, [aToken("1, repaired")]);
    call.batch(2, ["2"]);
    await call.durable(2);
    expect(call.rejections().map(([code, sequence]) => [code, sequence])).toEqual([
      [INVALID, 1],
      [SEQUENCE_DUPLICATE, 1],
    ]);
    expect(await stored(server.acme, workflowId)).toEqual(["2"]);
  });
});

describe("a stored entry", () => {
  test("has its place in the session as sequence, the session as producer, and its own time and payload", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    const before = BigInt(Date.now());
    const bytes = Uint8Array.of(0, 255, 128);
    call.events(1, [
      aToken("a\u0000b", { timestampMs: 1234n }),
      aToken("", { type: EventType.DATA, payload: { case: "binary", value: bytes } }),
      { taskExecutionId: "x".repeat(255), type: EventType.STARTED },
      aToken("", { taskExecutionId: "täsk ✓" }),
    ]);
    await call.durable(4);
    const events = await storedEvents(server.acme, workflowId);
    expect(events.map(({ sequence, producerId }) => [sequence, producerId])).toEqual(
      [1n, 2n, 3n, 4n].map((sequence) => [sequence, sessionId]),
    );
    expect(events.map(({ offset }) => offset)).toEqual([2n, 3n, 4n, 5n]);
    expect(events[0]).toMatchObject({ timestampMs: 1234n, payload: { case: "text", value: "a\u0000b" } });
    expect(events[1]).toMatchObject({ payload: { case: "binary", value: bytes } });
    expect(events[1]?.timestampMs).toBeGreaterThanOrEqual(before);
    expect(events[2]).toMatchObject({ taskExecutionId: "x".repeat(255), payload: { case: undefined } });
    expect(events[3]).toMatchObject({ taskExecutionId: "täsk ✓", payload: { case: "text", value: "" } });
  });

  test("belongs to the session's workflow unless it names another one of the tree, in any case", async () => {
    const { root, child, grandchild, sibling } = await newFamily(server.acme);
    const call = await openSession(server.acme, child);
    const targets = [undefined, root, grandchild.toUpperCase(), sibling, child];
    call.events(
      1,
      targets.map((workflowId, i) => aToken(`${i}`, workflowId === undefined ? {} : { workflowId })),
    );
    await call.durable(5);
    expect((await storedEvents(server.acme, root)).map(({ workflowId }) => workflowId)).toEqual([
      child,
      root,
      grandchild,
      sibling,
      child,
    ]);
  });

  test("may name a child that was made after the session began", async () => {
    const { workflowId, call } = await begin(server.acme);
    call.batch(1, ["1"]);
    await call.durable(1);
    const child = await newWorkflow(server.acme, workflowId);
    call.batch(2, ["2"], { workflowId: child } as object);
    await call.durable(2);
    expect(call.rejections()).toEqual([]);
    expect(await stored(server.acme, child)).toEqual(["2"]);
  });

  test("stands in the order of acceptance, whatever call it came by", async () => {
    const { workflowId, call } = await begin(server.acme, { ackLevel: 1 });
    for (let i = 1; i <= 20; i++) {
      call.batch(i, [`${2 * i - 1}`]);
      await call.accepted(i);
      await server.acme.tasks.streamTaskData({
        workflowExecutionId: workflowId,
        taskExecutionId: "task",
        type: EventType.TOKEN,
        payload: `${2 * i}`,
      });
    }
    await call.durable(20);
    await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    expect(await stored(server.acme, workflowId)).toEqual(texts(40));
  });
});

test("the entry's own sequence counts for nothing in a session", async () => {
  const { workflowId, call } = await begin(server.acme);
  call.events(1, [aToken("1"), aToken("2", { sequence: 77n })]);
  await call.durable(2);
  // Refused or ignored; never shown as given.
  const events = await storedEvents(server.acme, workflowId);
  expect(events.map(({ sequence }) => sequence)).not.toContain(77n);
});

test("several sessions of several workflows of one tree each keep their own numbers and order", async () => {
  const { root, child, grandchild, sibling } = await newFamily(server.acme);
  const calls = await Promise.all(
    [root, child, grandchild, sibling, child].map((id) => openSession(server.acme, id)),
  );
  for (let first = 1; first <= 200; first += 5) for (const call of calls) call.batch(first, texts(5, first));
  await Promise.all(calls.map((call) => call.durable(200)));
  const events = await storedEvents(server.acme, root);
  expect(events).toHaveLength(1000);
  for (const [i, call] of calls.entries()) {
    const { sessionId } = await call.opened();
    const own = events.filter(({ producerId }) => producerId === sessionId);
    expect(own.map(({ sequence }) => Number(sequence))).toEqual(texts(200).map(Number));
    expect(new Set(own.map(({ workflowId }) => workflowId))).toEqual(
      new Set([[root, child, grandchild, sibling, child][i]]),
    );
    expect(call.rejections()).toEqual([]);
  }
});
