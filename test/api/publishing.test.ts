import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import { v7 as uuidv7 } from "uuid";
import { expect, test } from "vitest";
import { AckLevel, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  type PublishTaskEventsProgress,
  PublishTaskEventsProgressSchema,
  type PublishTaskEventsRequestSchema,
  type StreamTaskDataRequest,
  StreamTaskDataRequestSchema,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { type Clients, useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { codeOf, errorOf } from "./codes.ts";
import { textOf } from "./subscription.ts";
import {
  type Fields,
  inMessages,
  newFamily,
  newWorkflow,
  publish,
  readAll,
  repeat,
  type TaskEventInit,
  token,
} from "./trees.ts";

const server = useServer();
const mib = 1024 * 1024;
const largest = BigInt(Number.MAX_SAFE_INTEGER);

const send = (workflowExecutionId: string, more: Fields<StreamTaskDataRequest> = {}, clients?: Clients) =>
  (clients ?? server.acme).tasks.streamTaskData(
    create(StreamTaskDataRequestSchema, {
      workflowExecutionId,
      taskExecutionId: "t",
      type: EventType.TOKEN,
      waitForDurable: true,
      ...more,
    }),
  );

/** The events of tasks, without those of the workflows themselves. */
async function taskEvents(workflowId: string) {
  return (await readAll(server.acme, workflowId)).filter((event) => event.taskExecutionId !== "");
}

function progressOf(error: ConnectError): PublishTaskEventsProgress {
  const [progress] = error.findDetails(PublishTaskEventsProgressSchema);
  if (progress === undefined) throw new Error(`no progress in the details of: ${error.message}`);
  return progress;
}

// --- StreamTaskData

test("an event is acknowledged as accepted, and then stored", async () => {
  const id = await newWorkflow(server.acme);
  expect(await send(id, { payload: "hi", waitForDurable: false })).toMatchObject({
    acknowledged: true,
    level: AckLevel.ACCEPTED,
    duplicate: false,
    offset: 0n,
    cancelRequested: false,
  });
  await until(async () => expect((await taskEvents(id)).map(textOf)).toEqual(["hi"]));
});

test("an event that is waited for is durable at the offset told", async () => {
  const id = await newWorkflow(server.acme);
  for (const offset of [2n, 3n, 4n]) {
    expect(await send(id, { payload: `${offset}` })).toMatchObject({
      acknowledged: true,
      level: AckLevel.DURABLE,
      duplicate: false,
      offset,
    });
  }
  expect((await taskEvents(id)).map((event) => [event.offset, textOf(event)])).toEqual([
    [2n, "2"],
    [3n, "3"],
    [4n, "4"],
  ]);
});

test("every field of an event is kept", async () => {
  const id = await newWorkflow(server.acme);
  const before = Date.now();
  await send(id.toUpperCase(), {
    taskExecutionId: "täsk \u{1F680}",
    sequence: 7n,
    type: EventType.OUTPUT,
    payload: '{"a":1}',
    timestampMs: 1234n,
    producerId: "p/1",
  });
  await send(id, { sequence: largest, timestampMs: largest });
  await send(id);
  const [full, numbered, bare] = await taskEvents(id);
  expect(full).toMatchObject({
    workflowId: id,
    taskExecutionId: "täsk \u{1F680}",
    offset: 2n,
    sequence: 7n,
    type: EventType.OUTPUT,
    payload: { case: "text", value: '{"a":1}' },
    timestampMs: 1234n,
    producerId: "p/1",
    replaced: 0,
  });
  expect(numbered).toMatchObject({ sequence: largest, timestampMs: largest, producerId: "" });
  for (const ms of [full?.recordedMs, bare?.recordedMs, bare?.timestampMs]) {
    expect(Math.abs(Number(ms) - before)).toBeLessThan(60_000);
  }
});

test("types 1 to 11 are taken, all others refused by name", async () => {
  const id = await newWorkflow(server.acme);
  const types = Object.values(EventType).filter((type) => type >= 1 && type <= 11);
  expect(types).toHaveLength(11);
  for (const type of types) {
    await send(id, { type, taskExecutionId: `task of ${type}` });
  }
  expect((await taskEvents(id)).map((event) => event.type)).toEqual(types);
  for (const type of [0, 12, 20, 21, 24, 30, 40, 41, -1] as EventType[]) {
    for (const waitForDurable of [true, false]) {
      const error = await errorOf(send(id, { type, waitForDurable }));
      expect(error.message).toMatch(/^\[invalid_argument\].*type/);
    }
    expect(await codeOf(publish(server.acme, [{ ...token(id, ""), type }]))).toBe("InvalidArgument");
  }
  expect(await taskEvents(id)).toHaveLength(11);
});

test("malformed fields are refused by name, and nothing is stored", async () => {
  const id = await newWorkflow(server.acme);
  const cases: [Fields<StreamTaskDataRequest>, string][] = [
    [{ workflowExecutionId: "" }, "workflow_execution_id"],
    [{ workflowExecutionId: "nonsense" }, "workflow_execution_id"],
    [{ workflowExecutionId: `${id}\0` }, "workflow_execution_id"],
    [{ taskExecutionId: "" }, "task_execution_id"],
    [{ taskExecutionId: "x".repeat(256) }, "task_execution_id"],
    [{ taskExecutionId: "a\0b" }, "task_execution_id"],
    [{ taskExecutionId: "a\nb" }, "task_execution_id"],
    [{ producerId: "a\0b", sequence: 1n }, "producer_id"],
    [{ producerId: "x".repeat(256), sequence: 1n }, "producer_id"],
    [{ producerId: "p", sequence: 0n }, "sequence"],
    [{ sequence: largest + 1n }, "sequence"],
    [{ timestampMs: -1n }, "timestamp_ms"],
    [{ timestampMs: largest + 1n }, "timestamp_ms"],
    [{ payload: "x".repeat(mib + 1) }, "payload"],
    [{ payload: `${"€".repeat(mib / 3)}xyz` }, "payload"],
  ];
  for (const [fields, name] of cases) {
    const error = await errorOf(send(id, fields));
    expect(error.message, JSON.stringify(Object.keys(fields))).toMatch(/^\[invalid_argument\]/);
    expect(error.message).toContain(name);
  }
  await send(id, { taskExecutionId: "x".repeat(255), producerId: "\u{1F680}".repeat(255), sequence: 1n });
  expect(await taskEvents(id)).toHaveLength(1);
});

test("payloads come back as they were: empty, Unicode, U+0000, 10 KB, 1 MiB", async () => {
  const id = await newWorkflow(server.acme);
  const payloads = [
    "",
    "a\0b\0",
    "\0",
    "\r\n\t\u2028\ufeff",
    "e\u0301 \u{1F469}\u200D\u{1F680} שלום",
    "0123456789".repeat(1024),
    "x".repeat(mib),
    "\u{1F680}".repeat(mib / 4),
    "\0".repeat(mib),
  ];
  for (const payload of payloads) await send(id, { payload });
  const stored = (await taskEvents(id)).map(textOf);
  expect(stored.map((text) => text.length)).toEqual(payloads.map((text) => text.length));
  expect(stored.every((text, index) => text === payloads[index])).toBe(true);
});

test("a number at or below a producer's last is a duplicate, also after a restart, and is stored once", async () => {
  const { root, child } = await newFamily(server.acme);
  const numbered = (sequence: bigint, producerId = "p", workflow = root) =>
    send(workflow, { sequence, producerId, payload: `${producerId}${sequence}` });
  expect(await numbered(5n)).toMatchObject({ duplicate: false, offset: 5n });
  expect(await numbered(5n)).toMatchObject({ acknowledged: true, duplicate: true, offset: 0n });
  expect(await numbered(3n)).toMatchObject({ duplicate: true });
  expect(await numbered(9n)).toMatchObject({ duplicate: false });
  expect(await numbered(8n)).toMatchObject({ duplicate: true });
  expect(await numbered(1n, "q")).toMatchObject({ duplicate: false });
  expect(await numbered(1n, "p", child)).toMatchObject({ duplicate: false });
  await server.restart();
  expect(await numbered(9n)).toMatchObject({ duplicate: true });
  expect(await numbered(10n)).toMatchObject({ duplicate: false });
  expect((await taskEvents(root)).map(textOf)).toEqual(["p5", "p9", "q1", "p1", "p10"]);
});

test("numbers without a producer are shown and not checked", async () => {
  const id = await newWorkflow(server.acme);
  for (const sequence of [5n, 5n, 3n, 0n]) {
    expect(await send(id, { sequence })).toMatchObject({ duplicate: false });
  }
  expect((await taskEvents(id)).map((event) => event.sequence)).toEqual([5n, 5n, 3n, 0n]);
});

test("resending at the same time stores one", async () => {
  const id = await newWorkflow(server.acme);
  const answers = await Promise.all(
    repeat(20, () => send(id, { producerId: "p", sequence: 1n, payload: "once" })),
  );
  expect(answers.filter((answer) => !answer.duplicate)).toHaveLength(1);
  await Promise.all(
    repeat(20, () => send(id, { producerId: "p", sequence: 2n, payload: "twice", waitForDurable: false })),
  );
  await send(id, { producerId: "p", sequence: 3n, payload: "last" });
  expect((await taskEvents(id)).map(textOf)).toEqual(["once", "twice", "last"]);
});

test("a resent terminal event is a duplicate, not a refusal, also when the workflow is closed", async () => {
  const id = await newWorkflow(server.acme);
  const terminal = { producerId: "p", sequence: 4n, type: EventType.COMPLETED };
  await send(id, terminal);
  expect(await send(id, terminal)).toMatchObject({ acknowledged: true, duplicate: true });
  await server.acme.workflows.closeWorkflow({ workflowId: id, status: WorkflowStatus.COMPLETED });
  expect(await send(id, terminal)).toMatchObject({ acknowledged: true, duplicate: true });
  expect(await taskEvents(id)).toHaveLength(1);
});

test.each([EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED])(
  "after terminal event %i the task takes nothing, other tasks and workflows do",
  async (type) => {
    const { root, child } = await newFamily(server.acme);
    await send(root, { type });
    for (const later of [EventType.TOKEN, EventType.ERROR, EventType.COMPLETED, EventType.CANCELLED]) {
      expect(await codeOf(send(root, { type: later }))).toBe("FailedPrecondition");
      expect(await codeOf(send(root, { type: later, waitForDurable: false }))).toBe("FailedPrecondition");
      expect(await codeOf(publish(server.acme, [{ ...token(root, ""), type: later }]))).toBe(
        "FailedPrecondition",
      );
    }
    await send(root, { taskExecutionId: "T" });
    await send(child);
    expect(await taskEvents(root)).toHaveLength(3);
  },
);

test("an ERROR event is not the end of its task", async () => {
  const id = await newWorkflow(server.acme);
  await send(id, { type: EventType.ERROR, payload: '{"message":"oh"}' });
  expect(await send(id)).toMatchObject({ offset: 3n });
});

test("of terminal events at the same time one is stored", async () => {
  const id = await newWorkflow(server.acme);
  const types = [EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED];
  const codes = await Promise.all(
    repeat(12, (index) => codeOf(send(id, { type: types[index % 3] ?? EventType.FAILED }))),
  );
  expect(codes.toSorted()).toEqual([...Array(11).fill("FailedPrecondition"), "OK"]);
  expect(await taskEvents(id)).toHaveLength(1);
});

test("a closed workflow takes nothing, and its open child goes on", async () => {
  const { root, child } = await newFamily(server.acme);
  await server.acme.workflows.closeWorkflow({ workflowId: root, status: WorkflowStatus.FAILED });
  for (const waitForDurable of [true, false]) {
    expect(await codeOf(send(root, { waitForDurable }))).toBe("FailedPrecondition");
  }
  expect(await codeOf(publish(server.acme, [token(root, "")]))).toBe("FailedPrecondition");
  await send(child);
  expect((await taskEvents(root)).map((event) => event.workflowId)).toEqual([child]);
});

test("unknown and foreign workflows are refused at both levels", async () => {
  const foreign = await newWorkflow(server.globex);
  for (const waitForDurable of [true, false]) {
    expect(await codeOf(send(uuidv7(), { waitForDurable }))).toBe("NotFound");
    expect(await codeOf(send(foreign, { waitForDurable }))).toBe("PermissionDenied");
  }
  expect(await codeOf(publish(server.acme, [token(uuidv7(), "")]))).toBe("NotFound");
  expect(await codeOf(publish(server.acme, [token(foreign, "")]))).toBe("PermissionDenied");
  expect(await readAll(server.globex, foreign)).toHaveLength(1);
});

test("the answer tells that somebody asked this workflow to stop", async () => {
  const { root, sibling } = await newFamily(server.acme);
  await send(root);
  await server.acme.workflows.requestCancel({ workflowId: root, reason: "enough" });
  for (const waitForDurable of [true, false]) {
    expect(await send(root, { waitForDurable })).toMatchObject({ cancelRequested: true });
  }
  await server.acme.workflows.requestCancel({ workflowId: sibling });
  const other = await newWorkflow(server.acme);
  expect(await send(other)).toMatchObject({ cancelRequested: false });
});

// --- PublishTaskEvents

test("many events are durable when the call answers, and counted", async () => {
  const id = await newWorkflow(server.acme);
  const texts = repeat(2500, String);
  const answer = await publish(
    server.acme,
    texts.map((text) => token(id, text)),
  );
  expect(answer).toMatchObject({ accepted: 2500n, duplicates: 0n, lastOffset: 2501n });
  expect((await taskEvents(id)).map(textOf)).toEqual(texts);
});

test("a call without messages or without events stores nothing", async () => {
  expect(await publish(server.acme, [])).toMatchObject({ accepted: 0n, duplicates: 0n, lastOffset: 0n });
  async function* empty() {
    yield { events: [] };
    yield { events: [] };
  }
  expect(await server.acme.tasks.publishTaskEvents(empty())).toMatchObject({ accepted: 0n });
});

test("events keep their order in each of several trees, and their bytes", async () => {
  const ids = await Promise.all(repeat(5, () => newWorkflow(server.acme)));
  const bytes = Uint8Array.from(repeat(256, Number));
  const events = repeat(1000, (index): TaskEventInit => {
    const workflowId = ids[(index * 7) % ids.length] ?? "";
    if (index % 10 !== 9) return token(workflowId, `${index}`, `t${index % 3}`);
    return {
      workflowId,
      taskExecutionId: "binary",
      type: EventType.DATA,
      payload: { case: "binary", value: bytes },
      sequence: BigInt(index),
      timestampMs: 5n,
    };
  });
  expect(await publish(server.acme, events, { batch: 33 })).toMatchObject({ accepted: 1000n });
  for (const id of ids) {
    const sent = events.filter((event) => event.workflowId === id);
    const stored = await taskEvents(id);
    expect(stored.map((event) => event.payload)).toEqual(sent.map((event) => event.payload));
    expect(stored.map((event) => event.offset)).toEqual(repeat(sent.length, (index) => BigInt(index + 2)));
    for (const event of stored.filter((candidate) => candidate.taskExecutionId === "binary")) {
      expect(event).toMatchObject({ timestampMs: 5n });
      expect(Number(event.sequence) % 10).toBe(9);
    }
  }
});

test("events for several workflows of one tree keep the order of the call", async () => {
  const { root, child, grandchild, sibling } = await newFamily(server.acme);
  const order = repeat(200, (index) => [root, grandchild, child, sibling][index % 4] ?? "");
  await publish(
    server.acme,
    order.map((id, index) => token(id, `${index}`)),
    { batch: 7 },
  );
  const stored = await taskEvents(root);
  expect(stored.map((event) => event.workflowId)).toEqual(order);
  expect(stored.map(textOf)).toEqual(order.map((_, index) => `${index}`));
});

test.each([
  [
    "a field that is wrong",
    (event: TaskEventInit): TaskEventInit => ({ ...event, taskExecutionId: "" }),
    Code.InvalidArgument,
  ],
  [
    "an id with U+0000",
    (event: TaskEventInit): TaskEventInit => ({ ...event, taskExecutionId: "a\0" }),
    Code.InvalidArgument,
  ],
  ["a type of the server's", (event: TaskEventInit): TaskEventInit => ({ ...event, type: 20 }), 3],
  [
    "1 MiB and a byte",
    (event: TaskEventInit): TaskEventInit => ({
      ...event,
      payload: { case: "text", value: "x".repeat(mib + 1) },
    }),
    Code.InvalidArgument,
  ],
  [
    "an ended task",
    (event: TaskEventInit): TaskEventInit => ({ ...event, taskExecutionId: "ended" }),
    Code.FailedPrecondition,
  ],
])("after %s in the middle nothing later of its tree is stored", async (_name, spoil, code) => {
  for (const batch of [1000, 20, 1]) {
    const id = await newWorkflow(server.acme);
    await send(id, { taskExecutionId: "ended", type: EventType.COMPLETED });
    const events = repeat(60, (index) => token(id, `${index}`)).map((event, index) =>
      index === 30 ? spoil(event) : event,
    );
    const error = await errorOf(publish(server.acme, events, { batch }));
    expect(error.code).toBe(code);
    expect(progressOf(error)).toMatchObject({ accepted: 30n, duplicates: 0n, failedIndex: 30n });
    // What the call left is all there is: a later event comes right after it.
    await send(id, { payload: "after" });
    expect((await taskEvents(id)).slice(1).map(textOf)).toEqual([...repeat(30, String), "after"]);
  }
});

test("a failure names the field and the event's place in the whole call", async () => {
  const id = await newWorkflow(server.acme);
  const events = repeat(25, () => token(id, ""));
  const error = await errorOf(
    publish(server.acme, [...events, { ...token(id, ""), timestampMs: -1n }], { batch: 10 }),
  );
  expect(error.message).toMatch(/timestamp_ms/);
  expect(progressOf(error).failedIndex).toBe(25n);
});

test("a refusal in one tree is told with what the others stored", async () => {
  const [good, closed] = [await newWorkflow(server.acme), await newWorkflow(server.acme)];
  await server.acme.workflows.closeWorkflow({ workflowId: closed, status: WorkflowStatus.COMPLETED });
  const events = repeat(10, (index) => token(index === 6 ? closed : good, `${index}`));
  const error = await errorOf(publish(server.acme, events));
  expect(error.code).toBe(Code.FailedPrecondition);
  expect(progressOf(error).failedIndex).toBe(6n);
  const stored = (await taskEvents(good)).map(textOf);
  expect(stored.slice(0, 6)).toEqual(["0", "1", "2", "3", "4", "5"]);
  expect(await taskEvents(closed)).toEqual([]);
});

test("a task's terminal event closes it within the call", async () => {
  const id = await newWorkflow(server.acme);
  const end = { ...token(id, "end"), type: EventType.COMPLETED };
  const error = await errorOf(
    publish(server.acme, [token(id, "0"), end, token(id, "other", "u"), token(id, "late")]),
  );
  expect(error.code).toBe(Code.FailedPrecondition);
  expect(progressOf(error)).toMatchObject({ accepted: 3n, failedIndex: 3n });
  expect((await taskEvents(id)).map(textOf)).toEqual(["0", "end", "other"]);
});

test("a whole call can be repeated by a producer that numbers", async () => {
  const { root, child } = await newFamily(server.acme);
  const events = repeat(
    100,
    (index): TaskEventInit => ({
      ...token(index % 2 === 0 ? root : child, `${index}`),
      sequence: BigInt(index * 3 + 1),
    }),
  );
  const producerId = "worker 1";
  await publish(server.acme, events.slice(0, 40), { producerId });
  const second = await publish(server.acme, events, { producerId, batch: 9 });
  expect(second).toMatchObject({ accepted: 60n, duplicates: 40n });
  const third = await publish(server.acme, events, { producerId });
  expect(third).toMatchObject({ accepted: 0n, duplicates: 100n });
  expect((await taskEvents(root)).map(textOf)).toEqual(repeat(100, String));

  // With an error at its end, the duplicates are told apart as well.
  const error = await errorOf(
    publish(server.acme, [...events.slice(90), { ...token(root, ""), sequence: 0n }], { producerId }),
  );
  expect(error.code).toBe(Code.InvalidArgument);
  expect(progressOf(error)).toMatchObject({ accepted: 0n, duplicates: 10n, failedIndex: 10n });
});

test("one call has one producer", async () => {
  const id = await newWorkflow(server.acme);
  async function* two(): AsyncIterable<MessageInitShape<typeof PublishTaskEventsRequestSchema>> {
    yield { producerId: "one", events: [{ ...token(id, "1"), sequence: 1n }] };
    yield { producerId: "two", events: [{ ...token(id, "2"), sequence: 2n }] };
  }
  const error = await errorOf(server.acme.tasks.publishTaskEvents(two()));
  expect(error.message).toMatch(/^\[invalid_argument\].*producer_id/);
  expect((await taskEvents(id)).map(textOf)).toEqual(["1"]);
});

test("a message takes 1000 events and 3 MiB, not more", async () => {
  const id = await newWorkflow(server.acme);
  const events = repeat(1001, (index) => token(id, `${index}`));
  const error = await errorOf(server.acme.tasks.publishTaskEvents(inMessages(events, 1001)));
  expect(error.message).toMatch(/^\[invalid_argument\].*events/);
  expect(await taskEvents(id)).toEqual([]);
  expect(await publish(server.acme, events.slice(1))).toMatchObject({ accepted: 1000n });

  const large = repeat(3, () => token(id, "x".repeat(mib - 1024), "large"));
  expect(await publish(server.acme, large)).toMatchObject({ accepted: 3n });
  const tooLarge = [...large, token(id, "x".repeat(100 * 1024))];
  expect(["InvalidArgument", "ResourceExhausted"]).toContain(await codeOf(publish(server.acme, tooLarge)));
  const overFour = repeat(5, () => token(id, "x".repeat(mib), "huge"));
  expect(["InvalidArgument", "ResourceExhausted"]).toContain(await codeOf(publish(server.acme, overFour)));
  expect(await taskEvents(id)).toHaveLength(1003);
});

test("what was sent before a message that is too large is stored, and told", async () => {
  const id = await newWorkflow(server.acme);
  async function* messages(): AsyncIterable<MessageInitShape<typeof PublishTaskEventsRequestSchema>> {
    yield { events: repeat(10, (index) => token(id, `${index}`)) };
    yield { events: repeat(1001, (index) => token(id, `${index}`)) };
  }
  const error = await errorOf(server.acme.tasks.publishTaskEvents(messages()));
  expect(error.code).toBe(Code.InvalidArgument);
  expect(progressOf(error)).toMatchObject({ accepted: 10n, failedIndex: 10n });
  expect(await taskEvents(id)).toHaveLength(10);
});

test("20,000 events in batches come back in order", async () => {
  const { root, child } = await newFamily(server.acme);
  const events = repeat(20_000, (index) => token(index % 3 === 0 ? child : root, `${index}`));
  const answer = await publish(server.acme, events, { batch: 500 });
  expect(answer).toMatchObject({ accepted: 20_000n, lastOffset: 20_004n });
  const stored = await readAll(server.acme, root);
  expect(stored.map((event) => Number(event.offset))).toEqual(repeat(20_004, (index) => index + 1));
  expect(stored.slice(4).map(textOf)).toEqual(repeat(20_000, String));
});

test("many producers at once: each one's events are in its order, offsets have no holes", async () => {
  const { root, child } = await newFamily(server.acme);
  await Promise.all(
    repeat(8, (producer) =>
      publish(
        server.acme,
        repeat(
          250,
          (index): TaskEventInit => ({
            ...token(producer % 2 === 0 ? root : child, `${index}`, `task ${producer}`),
            sequence: BigInt(index + 1),
          }),
        ),
        { batch: 10, producerId: `producer ${producer}` },
      ),
    ),
  );
  const stored = await readAll(server.acme, root);
  expect(stored.map((event) => Number(event.offset))).toEqual(repeat(2004, (index) => index + 1));
  for (let producer = 0; producer < 8; producer += 1) {
    const own = stored.filter((event) => event.taskExecutionId === `task ${producer}`);
    expect(own.map(textOf)).toEqual(repeat(250, String));
    expect(own.every((event) => event.producerId === `producer ${producer}`)).toBe(true);
  }
});
