import { type Client, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";
import fc from "fast-check";
import { v7 as uuidv7 } from "uuid";
import { describe, expect, test } from "vitest";
import {
  ClosingReason,
  type Event,
  EventType,
  type StreamOptions,
  WorkflowStatus,
} from "../../gen/tributary/v1/event_pb.ts";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { useServer } from "../support/server.ts";
import { codeOf, errorOf } from "./codes.ts";
import { type Answers, follow, readToEnd, Transcript, textOf } from "./subscription.ts";
import {
  type Fields,
  newFamily,
  newWorkflow,
  publish,
  readAll,
  repeat,
  type TaskEventInit,
  token,
} from "./trees.ts";

const server = useServer();
const { COMPLETED, FAILED, CANCELLED, RUNNING } = WorkflowStatus;

type Options = Fields<StreamOptions>;
type Streams = Client<typeof EventStreamService>;
type Call = Parameters<Streams["streamWorkflow"]>[1];

const close = async (workflowId: string, status: WorkflowStatus = COMPLETED, closeDescendants = false) =>
  Number((await server.acme.workflows.closeWorkflow({ workflowId, status, closeDescendants })).offset);

/** A subscription of any scope, as a function of how to read. */
type Scope = (options: Options, call?: Call, streams?: Streams) => Answers;
const ofWorkflow =
  (workflowId: string): Scope =>
  (options, call, streams = server.acme.streams) =>
    streams.streamWorkflow({ workflowId, options }, call);
const ofTree =
  (workflowId: string): Scope =>
  (options, call, streams = server.acme.streams) =>
    streams.streamWorkflowConsolidated({ workflowId, options }, call);
const ofTask =
  (workflowId: string, taskExecutionId = "t"): Scope =>
  (options, call, streams = server.acme.streams) =>
    streams.streamTask({ workflowId, taskExecutionId, options }, call);

const live = (scope: Scope, options: Options = {}) => follow((call) => scope(options, call));
const whole = (scope: Scope, options: Options = {}) => readToEnd((call) => scope(options, call));
const after = (offset: number): Options => ({ start: { case: "afterOffset", value: BigInt(offset) } });
const latest: Options = { start: { case: "latest", value: true } };

const done = (workflowId: string, taskExecutionId = "t"): TaskEventInit => ({
  workflowId,
  taskExecutionId,
  type: EventType.COMPLETED,
});

/** A closed tree with events of several tasks and types in each of its workflows. */
async function closedFamily() {
  const family = await newFamily(server.acme);
  const { root, child, grandchild, sibling } = family;
  await publish(server.acme, [
    token(root, "r0"),
    token(child, "c0"),
    token(grandchild, "g0"),
    { ...token(root, "{}", "u"), type: EventType.DATA },
    token(sibling, "s0"),
    done(child),
    token(grandchild, "g1"),
  ]);
  await close(child, FAILED);
  await publish(server.acme, [token(root, "r1"), token(grandchild, "g2"), done(sibling)]);
  await close(grandchild, CANCELLED);
  await publish(server.acme, [token(root, "r2"), token(sibling, "s1", "u")]);
  await close(root);
  await publish(server.acme, [token(sibling, "s2", "u")]);
  await close(sibling);
  const events = await readAll(server.acme, root);
  return { ...family, events, tail: events.length };
}

// --- The course of a subscription

test("a subscription opens with where it stands, then sends what was and what comes, then ends", async () => {
  const id = await newWorkflow(server.acme);
  await publish(server.acme, [token(id, "0"), token(id, "1")]);
  await using reader = live(ofWorkflow(id));
  await reader.until(() => expect(reader.texts.slice(1)).toEqual(["0", "1"]));
  expect(reader.opened?.streamId).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  expect(reader.opened).toMatchObject({ startOffset: 0n, tailOffset: 3n, floorOffset: 0n });
  await publish(server.acme, [token(id, "2")]);
  await reader.until(() => expect(reader.texts.slice(1)).toEqual(["0", "1", "2"]));
  expect(reader.ended).toBeUndefined();
  const finalOffset = await close(id);
  await reader.end();
  expect(reader.offsets).toEqual([1, 2, 3, 4, 5]);
  expect(reader.ended).toMatchObject({ status: COMPLETED, finalOffset: BigInt(finalOffset) });
  expect(reader.ended?.taskOutcome).toBe(EventType.UNSPECIFIED);
});

test("what is committed after Opened is seen, even with nothing else read", async () => {
  const id = await newWorkflow(server.acme);
  await using reader = live(ofWorkflow(id), latest);
  await reader.open();
  await publish(server.acme, [token(id, "new")]);
  await reader.until(() => expect(reader.texts).toEqual(["new"]));
});

test("a stream's id and epoch are the same for every scope of a tree", async () => {
  const { root, child, events, tail } = await closedFamily();
  const all = await Promise.all(
    [ofWorkflow(root), ofTree(root), ofWorkflow(child), ofTree(child), ofTask(child), ofTree(root)].map(
      (scope) => whole(scope),
    ),
  );
  expect(new Set(all.map((reader) => reader.opened?.streamId)).size).toBe(1);
  expect(new Set(all.map((reader) => reader.opened?.epoch)).size).toBe(1);
  for (const reader of all) expect(reader.opened?.tailOffset).toBe(BigInt(tail));
  expect(all[1]?.events).toEqual(events);
});

test("a subscription begins after 0, after an offset, at the tail, or at what comes", async () => {
  const id = await newWorkflow(server.acme);
  await publish(
    server.acme,
    repeat(9, (index) => token(id, `${index}`)),
  );
  for (const [options, start] of [
    [{}, 0],
    [after(0), 0],
    [after(4), 4],
    [after(10), 10],
    [latest, 10],
  ] as const) {
    await using reader = live(ofWorkflow(id), options);
    const expected = repeat(10 - start, (index) => start + index + 1);
    await reader.open();
    await reader.until(() => expect(reader.offsets).toEqual(expected));
    expect(reader.opened).toMatchObject({ startOffset: BigInt(start), tailOffset: 10n });
  }
});

test("a position beyond the tail is OUT_OF_RANGE before anything is sent, for every scope", async () => {
  const { root, child, tail } = await closedFamily();
  for (const scope of [ofWorkflow(root), ofTree(root), ofTask(root), ofTree(child)]) {
    await whole(scope, after(tail));
    for (const beyond of [tail + 1, Number.MAX_SAFE_INTEGER]) {
      const reader = live(scope, after(beyond));
      await expect(reader.finished).rejects.toThrow(/^\[out_of_range\]/);
      expect(reader.cases).toEqual([]);
    }
  }
});

test("an epoch that is not the stream's is ABORTED, the stream's own or 0 is not", async () => {
  const id = await newWorkflow(server.acme);
  await close(id);
  const { opened } = await whole(ofWorkflow(id));
  const epoch = opened?.epoch ?? 0n;
  expect(epoch).toBeGreaterThan(0n);
  await whole(ofWorkflow(id), { expectedEpoch: epoch });
  await whole(ofWorkflow(id), { expectedEpoch: 0n });
  for (const scope of [ofWorkflow(id), ofTree(id), ofTask(id)]) {
    expect(await codeOf(scope({ expectedEpoch: epoch + 1n }))).toBe("Aborted");
  }
});

test("options that are not allowed are INVALID_ARGUMENT and named", async () => {
  const id = await newWorkflow(server.acme);
  await close(id);
  const cases: [Options, string][] = [
    [{ heartbeatIntervalMs: 999 }, "heartbeat_interval_ms"],
    [{ heartbeatIntervalMs: 300_001 }, "heartbeat_interval_ms"],
    [{ minIntervalMs: 60_001 }, "min_interval_ms"],
    [{ minIntervalMs: 15_000 }, "min_interval_ms"],
    [{ minIntervalMs: 2000, heartbeatIntervalMs: 2000 }, "min_interval_ms"],
    [{ minIntervalMs: 500, idleTimeoutMs: 500 }, "min_interval_ms"],
    [{ types: [0] }, "types"],
    [{ types: [99 as EventType] }, "types"],
    [{ taskExecutionIds: [""] }, "task_execution_ids"],
    [{ taskExecutionIds: ["a\0"] }, "task_execution_ids"],
    [{ conflateTypes: [EventType.TOKEN] }, "conflate_types"],
    [after(2 ** 53), "after_offset"],
  ];
  for (const [options, field] of cases) {
    for (const scope of [ofWorkflow(id), ofTree(id), ofTask(id)]) {
      const error = await errorOf(scope(options));
      expect(error.message).toMatch(/^\[invalid_argument\]/);
      expect(error.message).toContain(field);
    }
  }
  expect((await errorOf(ofTask(id, "")({}))).message).toMatch(/^\[invalid_argument\].*task_execution_id/);
  for (const options of [
    { heartbeatIntervalMs: 1000 },
    { heartbeatIntervalMs: 300_000, minIntervalMs: 60_000 },
    { minIntervalMs: 14_999, idleTimeoutMs: 15_000 },
    { idleTimeoutMs: 1 },
  ]) {
    expect((await whole(ofWorkflow(id), options)).ended).toBeDefined();
  }
});

test("unknown and foreign workflows are refused before anything is sent", async () => {
  const foreign = await newWorkflow(server.globex);
  for (const scope of [ofWorkflow, ofTree, ofTask]) {
    for (const [id, code] of [
      [uuidv7(), "not_found"],
      [foreign, "permission_denied"],
    ] as const) {
      const reader = live(scope(id));
      await expect(reader.finished).rejects.toThrow(`[${code}]`);
      expect(reader.cases).toEqual([]);
    }
  }
});

// --- Filters

test("filters of types and tasks send what they name, in every scope", async () => {
  const { root, child, sibling, events } = await closedFamily();
  const scopes: [Scope, (event: Event) => boolean][] = [
    [ofTree(root), () => true],
    [ofWorkflow(root), (event) => event.workflowId === root],
    [ofWorkflow(sibling), (event) => event.workflowId === sibling],
    [ofTask(sibling, "u"), (event) => event.workflowId === sibling && event.taskExecutionId === "u"],
    [ofTask(child), (event) => event.workflowId === child && event.taskExecutionId === "t"],
  ];
  const filters: [Options, (event: Event) => boolean][] = [
    [{ types: [EventType.TOKEN] }, (event) => event.type === EventType.TOKEN],
    [
      { types: [EventType.DATA, EventType.WORKFLOW_COMPLETED, EventType.DATA] },
      (event) => event.type === EventType.DATA || event.type === EventType.WORKFLOW_COMPLETED,
    ],
    [{ types: [EventType.OBSERVATION] }, () => false],
    [{ taskExecutionIds: ["u"] }, (event) => event.taskExecutionId === "u"],
    [{ taskExecutionIds: ["u", "nobody"] }, (event) => event.taskExecutionId === "u"],
    [{ taskExecutionIds: ["nobody"] }, () => false],
    [
      { types: [EventType.TOKEN], taskExecutionIds: ["t"] },
      (event) => event.type === EventType.TOKEN && event.taskExecutionId === "t",
    ],
  ];
  for (const [scope, inScope] of scopes) {
    const unfiltered = await whole(scope);
    expect(unfiltered.events).toEqual(events.filter(inScope));
    for (const [options, matches] of filters) {
      const reader = await whole(scope, options);
      expect(reader.events).toEqual(events.filter((event) => inScope(event) && matches(event)));
      expect(reader.ended).toEqual(unfiltered.ended);
    }
  }
});

test("heartbeats carry the position past what the filter leaves out, and one can resume there", async () => {
  const id = await newWorkflow(server.acme);
  const options = { types: [EventType.PROGRESS], heartbeatIntervalMs: 1000 };
  await using reader = live(ofWorkflow(id), options);
  await reader.open();
  await publish(
    server.acme,
    repeat(50, (index) => token(id, `${index}`)),
  );
  await reader.until(() => expect(reader.heartbeats.at(-1)).toBe(51));
  expect(reader.events).toEqual([]);
  await using resumed = live(ofWorkflow(id), { ...options, ...after(51) });
  await resumed.open();
  await publish(server.acme, [{ ...token(id, "{}"), type: EventType.PROGRESS }]);
  await resumed.until(() => expect(resumed.offsets).toEqual([52]));
  await reader.until(() => expect(reader.offsets).toEqual([52]));
});

// --- Ends

test("without events for the idle timeout the call closes, heartbeats do not count", async () => {
  const id = await newWorkflow(server.acme);
  await using reader = live(ofWorkflow(id), { idleTimeoutMs: 2500, heartbeatIntervalMs: 1000 });
  await reader.end();
  expect(reader.closing?.reason).toBe(ClosingReason.IDLE_TIMEOUT);
  expect(reader.cases).toEqual(expect.arrayContaining(["opened", "events", "heartbeat"]));
  expect(reader.ended).toBeUndefined();
});

test("events in scope put off the idle timeout, events outside do not", async () => {
  const { root, sibling } = await newFamily(server.acme);
  await using reader = live(ofWorkflow(root), { ...latest, idleTimeoutMs: 700 });
  await using other = live(ofWorkflow(sibling), { ...latest, idleTimeoutMs: 700 });
  await Promise.all([reader.open(), other.open()]);
  let sent = 0;
  while (other.closing === undefined) {
    await publish(server.acme, [token(root, `${sent}`)]);
    sent += 1;
  }
  expect(reader.closing).toBeUndefined();
  await reader.end();
  expect(reader.events).toHaveLength(sent);
  expect(reader.closing?.reason).toBe(ClosingReason.IDLE_TIMEOUT);
});

test("a child and a grandchild that start later appear in the consolidated stream alone", async () => {
  const root = await newWorkflow(server.acme);
  await using tree = live(ofTree(root));
  await using own = live(ofWorkflow(root));
  await Promise.all([tree.open(), own.open()]);
  const child = await newWorkflow(server.acme, root);
  await using subtree = live(ofTree(child));
  await subtree.open();
  const grandchild = await newWorkflow(server.acme, child);
  const sibling = await newWorkflow(server.acme, root);
  await publish(server.acme, [token(grandchild, "g"), token(sibling, "s"), token(root, "r")]);
  await close(root, COMPLETED, true);
  await Promise.all([tree.end(), own.end(), subtree.end()]);
  expect(tree.offsets).toEqual(repeat(11, (index) => index + 1));
  const members = (reader: Transcript) => new Set(reader.events.map((event) => event.workflowId));
  expect(members(tree)).toEqual(new Set([root, child, grandchild, sibling]));
  expect(members(own)).toEqual(new Set([root]));
  expect(members(subtree)).toEqual(new Set([child, grandchild]));
  expect(subtree.events).toEqual(
    tree.events.filter((event) => [child, grandchild].includes(event.workflowId)),
  );
  expect(subtree.ended).toMatchObject({
    status: CANCELLED,
    finalOffset: BigInt(subtree.offsets.at(-1) ?? 0),
  });
});

test("a task is followed before it begins, and ends with its terminal event", async () => {
  const { root, child } = await newFamily(server.acme);
  await using reader = live(ofTask(root, "later"));
  await reader.open();
  await publish(server.acme, [
    token(root, "another task", "other"),
    token(child, "another workflow", "later"),
    { ...token(root, "", "later"), type: EventType.STARTED },
    token(root, "mine", "later"),
    { ...token(root, "no end", "later"), type: EventType.ERROR },
  ]);
  await reader.until(() => expect(reader.texts).toEqual(["", "mine", "no end"]));
  const { lastOffset } = await publish(server.acme, [
    { ...done(root, "later"), type: EventType.FAILED, payload: { case: "text", value: "why" } },
  ]);
  await reader.end();
  expect(reader.texts).toEqual(["", "mine", "no end", "why"]);
  expect(reader.ended).toMatchObject({
    status: RUNNING,
    finalOffset: lastOffset,
    taskOutcome: EventType.FAILED,
  });
  // Again, when it is over.
  const again = await whole(ofTask(root, "later"));
  expect(again.events).toEqual(reader.events);
  expect(again.ended).toMatchObject({ finalOffset: lastOffset, taskOutcome: EventType.FAILED });
});

test("a task that is not done ends with its workflow, also one that never began", async () => {
  const { root, child } = await newFamily(server.acme);
  await using begun = live(ofTask(child));
  await using never = live(ofTask(child, "never"));
  await publish(server.acme, [token(child, "0")]);
  await begun.until(() => expect(begun.texts).toEqual(["0"]));
  await never.open();
  await close(root);
  const closed = await close(child, CANCELLED);
  for (const reader of [begun, never, await whole(ofTask(child)), await whole(ofTask(child, "never"))]) {
    await reader.end();
    expect(reader.events.every((event) => event.taskExecutionId === "t")).toBe(true);
    expect(reader.ended).toMatchObject({ status: CANCELLED, taskOutcome: EventType.UNSPECIFIED });
    expect(Number(reader.ended?.finalOffset)).toBeLessThanOrEqual(closed);
    expect(Number(reader.ended?.finalOffset)).toBeGreaterThanOrEqual(reader.offsets.at(-1) ?? 0);
  }
});

test("a subscription ends exactly when its scope does", async () => {
  const { root, child, grandchild, sibling } = await newFamily(server.acme);
  const readers = {
    root: live(ofWorkflow(root)),
    child: live(ofWorkflow(child)),
    childTree: live(ofTree(child)),
    task: live(ofTask(grandchild)),
    tree: live(ofTree(root)),
  };
  type Name = keyof typeof readers;
  const ended = () => (Object.keys(readers) as Name[]).filter((name) => readers[name].ended !== undefined);
  const step = async (offset: number, status: WorkflowStatus, names: Name[], before: Name[]) => {
    for (const name of names) {
      await readers[name].end();
      expect(readers[name].ended).toMatchObject({ status, finalOffset: BigInt(offset) });
    }
    expect(ended().toSorted()).toEqual([...before, ...names].toSorted());
  };
  await Promise.all(Object.values(readers).map((reader) => reader.open()));
  await step(await close(root, FAILED), FAILED, ["root"], []);
  await step(await close(child, CANCELLED), CANCELLED, ["child"], ["root"]);
  const { lastOffset } = await publish(server.acme, [done(grandchild)]);
  await step(Number(lastOffset), RUNNING, ["task"], ["root", "child"]);
  const third = await close(grandchild);
  await step(third, CANCELLED, ["childTree"], ["root", "child", "task"]);
  await step(await close(sibling), FAILED, ["tree"], ["root", "child", "task", "childTree"]);
});

test("a reader from the past of a running tree goes over to what is live without gap or duplicate", async () => {
  const id = await newWorkflow(server.acme);
  const total = 6000;
  const writing = (async () => {
    for (let at = 0; at < total; at += 50) {
      await publish(
        server.acme,
        repeat(50, (index) => token(id, `${at + index}`)),
      );
    }
    await close(id);
  })();
  // Readers join one after the other while it is written.
  const readers = [];
  for (let joined = 0; joined < 12; joined += 1) {
    const reader = live(ofWorkflow(id));
    readers.push(reader);
    await reader.until(() => expect(reader.events.length).toBeGreaterThan(0));
  }
  await writing;
  for (const reader of readers) {
    await reader.end();
    expect(reader.offsets).toEqual(repeat(total + 2, (index) => index + 1));
    expect(reader.texts.slice(1, -1)).toEqual(repeat(total, String));
  }
});

// --- Resuming

test("resuming at any offset gives exactly the rest, for every scope and filter", async () => {
  const { root, child, grandchild, sibling, tail } = await closedFamily();
  const scopes: [Scope, Options][] = [
    [ofWorkflow(root), {}],
    [ofWorkflow(grandchild), {}],
    [ofTree(root), {}],
    [ofTree(child), {}],
    [ofTask(child), {}],
    [ofTask(root), {}],
    [ofTask(sibling), {}],
    [ofTree(root), { types: [EventType.TOKEN] }],
    [ofTree(root), { taskExecutionIds: ["u"] }],
    [ofTask(root), { types: [EventType.DATA] }],
  ];
  for (const [scope, options] of scopes) {
    const full = await whole(scope, options);
    const rests = await Promise.all(
      repeat(tail + 1, (offset) => whole(scope, { ...options, ...after(offset) })),
    );
    for (const [offset, rest] of rests.entries()) {
      expect(rest.events).toEqual(full.events.filter((event) => Number(event.offset) > offset));
      expect(rest.ended).toEqual(full.ended);
      expect(rest.opened?.startOffset).toBe(BigInt(offset));
    }
  }
});

test("a reader that breaks off anywhere and resumes, again and again, misses and repeats nothing", async () => {
  const { root, events } = await closedFamily();
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }), async (steps) => {
      const seen: Event[] = [];
      for (const step of steps) {
        const { events: some } = await server.acme.streams.readEvents({
          workflowId: root,
          consolidated: true,
          limit: step,
          cursor: seen.at(-1)?.offset ?? 0n,
        });
        seen.push(...some);
      }
      const rest = await whole(ofTree(root), after(Number(seen.at(-1)?.offset ?? 0)));
      expect([...seen, ...rest.events]).toEqual(events);
    }),
    { numRuns: 25 },
  );
});

// --- min_interval_ms

test("with a least interval nothing is lost, messages are fewer, and the end does not wait", async () => {
  const id = await newWorkflow(server.acme);
  await using slow = live(ofWorkflow(id), { minIntervalMs: 14_000 });
  await using medium = live(ofWorkflow(id), { minIntervalMs: 200 });
  await Promise.all([slow.open(), medium.open()]);
  const start = Date.now();
  for (let at = 0; at < 100; at += 1) await publish(server.acme, [token(id, `${at}`)]);
  await close(id);
  await Promise.all([slow.end(), medium.end()]);
  const elapsed = Date.now() - start;
  expect(elapsed).toBeLessThan(14_000);
  for (const reader of [slow, medium]) {
    expect(reader.offsets).toEqual(repeat(102, (index) => index + 1));
    expect(reader.ended).toBeDefined();
  }
  // The first may come at once, and the end flushes.
  expect(slow.batchSizes.length).toBeLessThanOrEqual(3);
  expect(medium.batchSizes.length).toBeLessThanOrEqual(elapsed / 200 + 3);
});

// --- conflate_types

const progress = (workflowId: string, taskExecutionId = "t", payload = ""): TaskEventInit => ({
  workflowId,
  taskExecutionId,
  type: EventType.PROGRESS,
  payload: { case: "text", value: payload },
});
const conflateTypes = [EventType.PROGRESS, EventType.DATA];
const counted = (events: readonly Event[]) =>
  events.map(({ offset, replaced }) => [Number(offset), replaced]);

test("conflated, a batch holds the newest of a workflow's task and type at its place, in every scope, live and of the past", async () => {
  const root = await newWorkflow(server.acme);
  const child = await newWorkflow(server.acme, root);
  const scopes = [ofTree(root), ofWorkflow(root), ofTask(root)];
  // Held back, so that what is written is pending together.
  const readers = scopes.map((scope) => live(scope, { ...latest, conflateTypes, minIntervalMs: 14_000 }));
  await Promise.all(readers.map((reader) => reader.open()));
  await publish(server.acme, [token(root, "first")]);
  await Promise.all(readers.map((reader) => reader.until(() => expect(reader.texts).toContain("first"))));
  await publish(server.acme, [
    progress(root), // 4
    { ...progress(root), type: EventType.DATA },
    token(root, "x"),
    progress(child),
    progress(root, "u"), // 8
    progress(root),
    { ...progress(root), type: EventType.OUTPUT },
    progress(root, "u"),
    progress(child), // 12
    { ...progress(root), type: EventType.OUTPUT },
    progress(root),
    done(root), // 15
  ]);
  await close(root, COMPLETED, true); // 16: the child, 17
  const expected = [
    [
      [5, 0],
      [6, 0],
      [10, 0],
      [11, 1],
      [12, 1],
      [13, 0],
      [14, 2],
      [15, 0],
      [16, 0],
      [17, 0],
    ],
    [
      [5, 0],
      [6, 0],
      [10, 0],
      [11, 1],
      [13, 0],
      [14, 2],
      [15, 0],
    ],
    [
      [5, 0],
      [6, 0],
      [10, 0],
      [13, 0],
      [14, 2],
      [15, 0],
    ],
  ];
  for (const [at, reader] of readers.entries()) {
    await reader.end();
    expect(counted(reader.events.filter(({ offset }) => offset > 3n && offset < 16n))).toEqual(
      expected[at]?.filter(([offset = 0]) => offset < 16),
    );
    const past = await whole(scopes[at] as Scope, { ...after(3), conflateTypes });
    expect(counted(past.events.filter(({ offset }) => offset < 16n))).toEqual(
      expected[at]?.filter(([offset = 0]) => offset < 16),
    );
    expect(past.ended?.finalOffset).toBe(reader.ended?.finalOffset);
  }
  for (const [, transport] of transports) {
    const streams = createClient(EventStreamService, transport());
    const read = await readToEnd((call) => ofWorkflow(root)({ ...after(3), conflateTypes }, call, streams));
    expect(counted(read.events)).toEqual([
      ...(expected[1] ?? []),
      [read.events.at(-1)?.offset, 0].map(Number),
    ]);
  }
});

test("without conflate_types nothing is replaced, and a message's last offset resumes a conflated reader", async () => {
  const id = await newWorkflow(server.acme);
  await publish(
    server.acme,
    repeat(3000, (i) => (i % 100 === 0 ? token(id, `${i}`) : progress(id))),
  );
  await close(id);
  const everything = await whole(ofWorkflow(id));
  expect(everything.events.every(({ replaced }) => replaced === 0)).toBe(true);
  expect(everything.offsets).toEqual(repeat(3002, (i) => i + 1));
  const whole1 = await whole(ofWorkflow(id), { conflateTypes });
  const sum = (events: readonly Event[]) => events.reduce((total, { replaced }) => total + 1 + replaced, 0);
  expect([sum(whole1.events), whole1.texts.filter((text) => text !== "").length >= 30]).toEqual([3002, true]);
  for (const { offset } of whole1.events) {
    const rest = await whole(ofWorkflow(id), { ...after(Number(offset)), conflateTypes });
    expect(sum(rest.events)).toBe(3002 - Number(offset));
  }
});

test("a conflated reader that falls far behind gets the newest in few messages, and still every event or its number", async () => {
  const id = await newWorkflow(server.acme);
  await using reader = live(ofWorkflow(id), { conflateTypes, minIntervalMs: 2000 });
  await reader.open();
  for (let round = 0; round < 10; round++) {
    await publish(
      server.acme,
      repeat(1000, () => progress(id, "t", "x".repeat(1000))),
    );
  }
  await close(id);
  await reader.end();
  expect(reader.events.reduce((total, { replaced }) => total + 1 + replaced, 0)).toBe(10_002);
  // More than the window holds was pending.
  expect(reader.batchSizes.length).toBeLessThan(8);
});

// --- ReadEvents

describe("pages of history", () => {
  test("go forwards and backwards, whole or filtered, of a workflow or its subtree", async () => {
    const { root, child, events, tail } = await closedFamily();
    const { streams } = server.acme;
    const scopes: [{ workflowId: string; consolidated?: boolean }, (event: Event) => boolean][] = [
      [{ workflowId: root, consolidated: true }, () => true],
      [{ workflowId: root }, (event) => event.workflowId === root],
      [{ workflowId: child }, (event) => event.workflowId === child],
    ];
    const filters: [{ types?: EventType[]; taskExecutionIds?: string[] }, (event: Event) => boolean][] = [
      [{}, () => true],
      [{ types: [EventType.TOKEN] }, (event) => event.type === EventType.TOKEN],
      [{ taskExecutionIds: ["u"] }, (event) => event.taskExecutionId === "u"],
      [{ types: [EventType.OBSERVATION] }, () => false],
    ];
    for (const [scope, inScope] of scopes) {
      for (const [filter, matches] of filters) {
        const expected = events.filter((event) => inScope(event) && matches(event));
        for (const descending of [false, true]) {
          for (const limit of [1, 2, 3, 0, 1000]) {
            const found: Event[] = [];
            for (let cursor = 0n, calls = 0; ; calls += 1) {
              expect(calls, "pages").toBeLessThan(100);
              const page = await streams.readEvents({ ...scope, ...filter, descending, limit, cursor });
              expect(page.events.length).toBeLessThanOrEqual(limit || 100);
              expect(page).toMatchObject({ tailOffset: BigInt(tail), floorOffset: 0n });
              found.push(...page.events);
              if (!page.more) break;
              cursor = page.nextCursor;
            }
            expect(found).toEqual(descending ? expected.toReversed() : expected);
          }
        }
      }
    }
  });

  test("hold 100 events if not asked, 1000 at most, and 1 MiB", async () => {
    const id = await newWorkflow(server.acme);
    const size = 1000;
    await publish(
      server.acme,
      repeat(1500, () => token(id, "x".repeat(size))),
    );
    const { streams } = server.acme;
    expect((await streams.readEvents({ workflowId: id })).events).toHaveLength(100);
    for (const descending of [false, true]) {
      const page = await streams.readEvents({ workflowId: id, limit: 1000, descending });
      expect(page.events.length).toBeGreaterThan(500);
      expect(page.events.length * size).toBeLessThanOrEqual(1024 * 1024);
      expect(page.more).toBe(true);
    }
    expect(await codeOf(streams.readEvents({ workflowId: id, limit: 1001 }))).toBe("InvalidArgument");
    expect(await codeOf(streams.readEvents({ workflowId: id, types: [0] }))).toBe("InvalidArgument");
    expect(await codeOf(streams.readEvents({ workflowId: id, cursor: 2n ** 53n }))).toBe("InvalidArgument");

    const large = await newWorkflow(server.acme);
    await publish(
      server.acme,
      repeat(3, (index) => token(large, `${index}`.repeat(1024 * 1024))),
      { batch: 1 },
    );
    const all = await readAll(server.acme, large);
    expect(all.map((event) => textOf(event).length)).toEqual([
      expect.any(Number),
      ...Array(3).fill(1024 * 1024),
    ]);
    const { events } = await streams.readEvents({ workflowId: large, limit: 10, cursor: 1n });
    expect(events).toHaveLength(1);
  });

  test("at the tail are empty and tell a cursor to go on with", async () => {
    const id = await newWorkflow(server.acme);
    const { streams } = server.acme;
    const page = await streams.readEvents({ workflowId: id, cursor: 1n });
    expect(page).toMatchObject({ events: [], more: false, tailOffset: 1n });
  });

  test("find the few in 30,000 events, by types and tasks, in both directions, as streams do", async () => {
    const { root, child } = await newFamily(server.acme);
    const events = repeat(30_000, (index): TaskEventInit => {
      if (index % 7500 === 7000) {
        return { ...token(child, `${index}`, "rare"), type: EventType.OUTPUT };
      }
      return token(index === 29_999 ? child : root, `${index}`);
    });
    await publish(server.acme, events);
    const rare = ["7000", "14500", "22000", "29500"];
    for (const filter of [
      { types: [EventType.OUTPUT] },
      { taskExecutionIds: ["rare"] },
      { types: [EventType.OUTPUT], taskExecutionIds: ["rare"] },
    ]) {
      for (const limit of [2, 1000]) {
        const up = await readAll(server.acme, root, { consolidated: true, limit, ...filter });
        expect(up.map(textOf)).toEqual(rare);
        const down = await readAll(server.acme, root, {
          consolidated: true,
          limit,
          descending: true,
          ...filter,
        });
        expect(down.map(textOf)).toEqual(rare.toReversed());
      }
      await using reader = live(ofTree(root), filter);
      await reader.until(() => expect(reader.texts).toEqual(rare));
    }
    expect((await readAll(server.acme, child, {})).map(textOf).slice(1)).toEqual([...rare, "29999"]);
    await close(root, COMPLETED, true);
    const stream = await whole(ofTree(child));
    expect(stream.texts.slice(2, -2)).toEqual([...rare, "29999"]);
  });
});

// --- Many readers, all protocols

const authorize = (): Interceptor => (next) => (request) => {
  request.header.set("authorization", `Bearer ${server.acme.key}`);
  return next(request);
};
const transports: [string, () => Transport][] = [
  ["gRPC", () => createGrpcTransport({ ...common(), baseUrl: server.url })],
  ["gRPC-Web on HTTP/1.1", () => createGrpcWebTransport({ ...common(), httpVersion: "1.1" })],
  ["gRPC-Web on HTTP/2", () => createGrpcWebTransport({ ...common(), httpVersion: "2" })],
  ["Connect on HTTP/1.1", () => createConnectTransport({ ...common(), httpVersion: "1.1" })],
  ["Connect on HTTP/2", () => createConnectTransport({ ...common(), httpVersion: "2" })],
  [
    "Connect with JSON on HTTP/1.1",
    () => createConnectTransport({ ...common(), httpVersion: "1.1", useBinaryFormat: false }),
  ],
  [
    "Connect with JSON on HTTP/2",
    () => createConnectTransport({ ...common(), httpVersion: "2", useBinaryFormat: false }),
  ],
  ["Connect from a browser", () => web.createConnectTransport(common())],
  ["gRPC-Web from a browser", () => web.createGrpcWebTransport(common())],
];
function common() {
  return { baseUrl: server.url, interceptors: [authorize()] };
}

test("readers over every protocol and HTTP version see the same", async () => {
  const { root, child, grandchild } = await newFamily(server.acme);
  const scopes = [ofTree(root), ofWorkflow(root), ofTask(grandchild)];
  const readers = transports.flatMap(([name, transport]) => {
    const streams = createClient(EventStreamService, transport());
    return scopes.map((scope) => ({ name, scope, reader: follow((call) => scope({}, call, streams)) }));
  });
  await Promise.all(readers.map(({ reader }) => reader.open()));
  await publish(
    server.acme,
    repeat(1000, (index): TaskEventInit => {
      const id = [root, child, grandchild][index % 3] ?? "";
      if (index % 5 !== 4) return token(id, `a\0b \u{1F680} ${index}`);
      return {
        workflowId: id,
        taskExecutionId: "t",
        type: EventType.DATA,
        payload: { case: "binary", value: Uint8Array.of(0, 255, index % 256) },
      };
    }),
    { batch: 50 },
  );
  await publish(server.acme, [done(grandchild)]);
  await close(root, COMPLETED, true);
  for (const scope of scopes) {
    const expected = await whole(scope);
    for (const { name, reader } of readers.filter((candidate) => candidate.scope === scope)) {
      await reader.end();
      expect(reader.events.length, name).toBe(expected.events.length);
      expect(reader.events, name).toEqual(expected.events);
      // The status is that of the workflow at the end, which a task's may be before.
      expect({ ...reader.ended, status: 0 }, name).toEqual({ ...expected.ended, status: 0 });
      expect(reader.opened?.epoch, name).toBe(expected.opened?.epoch);
    }
  }
});

test("a server that stops tells every reader, ends its call in order, and the reader goes on elsewhere", async () => {
  const id = await newWorkflow(server.acme);
  await publish(
    server.acme,
    repeat(100, (index) => token(id, `${index}`)),
  );
  const readers = transports.map(([name, transport]) => {
    const streams = createClient(EventStreamService, transport());
    return { name, reader: follow((call) => ofWorkflow(id)({}, call, streams)) };
  });
  for (const { reader } of readers) await reader.until(() => expect(reader.events).toHaveLength(101));
  await server.restart();
  const outcomes = await Promise.all(
    readers.map(async ({ name, reader }) => {
      const call = await reader.finished.then(
        () => "ended OK",
        (error: unknown) => `${error}`,
      );
      return [name, reader.closing?.reason, call];
    }),
  );
  await publish(server.acme, [token(id, "100")]);
  await close(id);
  const expectedEpoch = readers[0]?.reader.opened?.epoch ?? 0n;
  expect((await whole(ofWorkflow(id), { ...after(101), expectedEpoch })).offsets).toEqual([102, 103]);
  expect(outcomes).toEqual(transports.map(([name]) => [name, ClosingReason.DRAINING, "ended OK"]));
});

test("a hundred readers of one stream see the same", async () => {
  const id = await newWorkflow(server.acme);
  const readers = repeat(100, () => live(ofWorkflow(id)));
  await Promise.all(readers.map((reader) => reader.open()));
  for (let at = 0; at < 1000; at += 100) {
    await publish(
      server.acme,
      repeat(100, (index) => token(id, `${at + index}`)),
    );
  }
  await close(id);
  const expected = await readAll(server.acme, id);
  for (const reader of readers) {
    await reader.end();
    expect(reader.events).toEqual(expected);
  }
});

test.each(transports)(
  "a reader over %s that stops reading for a while goes on where it was",
  async (_name, transport) => {
    const id = await newWorkflow(server.acme);
    const abort = new AbortController();
    const streams = createClient(EventStreamService, transport());
    const messages = ofWorkflow(id)({}, { signal: abort.signal }, streams)[Symbol.asyncIterator]();
    const seen = new Transcript();
    const { value: first } = await messages.next();
    seen.add(first?.message);
    await using other = live(ofWorkflow(id), latest);
    await other.open();

    // More than the window of a stream and than any buffer on the way.
    const count = 6000;
    const text = "x".repeat(2000);
    await publish(
      server.acme,
      repeat(count, (index) => token(id, `${index}${text}`)),
      { batch: 500 },
    );
    await close(id);
    await other.end();
    expect(other.events).toHaveLength(count + 1);

    for (;;) {
      const { done: over, value } = await messages.next();
      if (over === true) break;
      seen.add(value?.message);
    }
    expect(seen.offsets).toEqual(repeat(count + 2, (index) => index + 1));
    expect(seen.events.at(-2)).toMatchObject({ payload: { value: `${count - 1}${text}` } });
    expect(seen.ended?.finalOffset).toBe(BigInt(count + 2));
    abort.abort();
  },
);

test("batches hold at most 1,000 entries and 1 MiB, unless one entry is larger", async () => {
  const id = await newWorkflow(server.acme);
  const mib = 1024 * 1024;
  await publish(
    server.acme,
    repeat(2500, () => token(id, "")),
  );
  await publish(
    server.acme,
    repeat(20, () => token(id, "x".repeat(100_000))),
    { batch: 10 },
  );
  await publish(
    server.acme,
    repeat(2, () => token(id, "x".repeat(mib))),
    { batch: 1 },
  );
  await close(id);
  for await (const { message } of ofWorkflow(id)({})) {
    if (message?.message.case !== "events") continue;
    const { events } = message.message.value;
    const bytes = events.reduce((sum, event) => sum + textOf(event).length, 0);
    if (events.length > 1) expect(bytes).toBeLessThanOrEqual(mib);
    expect(events.length).toBeLessThanOrEqual(1000);
  }
});

test("a reader that leaves stops nothing", async () => {
  const id = await newWorkflow(server.acme);
  await using stays = live(ofTree(id));
  {
    await using leaves = live(ofTree(id));
    await Promise.all([stays.open(), leaves.open()]);
  }
  await publish(server.acme, [token(id, "on")]);
  await close(id);
  await stays.end();
  expect(stays.offsets).toEqual([1, 2, 3]);
  const { workflow } = await server.acme.workflows.getWorkflow({ workflowId: id });
  expect(workflow?.cancelRequestedMs).toBe(0n);
});
