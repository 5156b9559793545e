/** StreamMany: what its comments promise, sentence by sentence, over every protocol. */
import { createClient } from "@connectrpc/connect";
import { v7 as uuidv7 } from "uuid";
import { expect, test } from "vitest";
import { ClosingReason, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { EventStreamService, StreamScope } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { createTenant, useServer } from "../support/server.ts";
import { errorOf } from "./codes.ts";
import { type LabelledCall, type LabelTranscript, streamMany, type TargetInit } from "./multiplex-call.ts";
import { readToEnd } from "./subscription.ts";
import { transportsOf } from "./transports.ts";
import { newFamily, newWorkflow, publish, repeat, token } from "./trees.ts";

const server = useServer();
const { WORKFLOW, CONSOLIDATED, TASK } = StreamScope;

const close = (workflowId: string, closeDescendants = false) =>
  server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED, closeDescendants });

async function closedWorkflow(...texts: string[]): Promise<string> {
  const id = await newWorkflow(server.acme);
  await publish(
    server.acme,
    texts.map((text) => token(id, text)),
  );
  await close(id);
  return id;
}

const alone = ({ workflowId = "", taskExecutionId = "", options, scope }: TargetInit) =>
  readToEnd((call) => {
    const request = { workflowId, options };
    if (scope === TASK) return server.acme.streams.streamTask({ ...request, taskExecutionId }, call);
    return scope === CONSOLIDATED
      ? server.acme.streams.streamWorkflowConsolidated(request, call)
      : server.acme.streams.streamWorkflow(request, call);
  });

const said = ({ error }: LabelTranscript) => [error?.code, error?.message];

test("each label gets what its target gets alone, live and to its end, over every protocol; then the call ends", async () => {
  const { root, child, grandchild, sibling } = await newFamily(server.acme);
  const targets: TargetInit[] = [
    { label: "unspecified", workflowId: root },
    { label: "workflow", scope: WORKFLOW, workflowId: child.toUpperCase() },
    { label: "tree", scope: CONSOLIDATED, workflowId: root },
    { label: "subtree", scope: CONSOLIDATED, workflowId: child },
    { label: "task", scope: TASK, workflowId: grandchild, taskExecutionId: "t" },
    { label: "some types", scope: CONSOLIDATED, workflowId: root, options: { types: [EventType.TOKEN] } },
    { label: "x".repeat(64), workflowId: sibling, options: { taskExecutionIds: ["u"] } },
    {
      label: "a label 🦊\u0000",
      workflowId: sibling,
      options: { start: { case: "afterOffset", value: 2n } },
    },
  ];
  const calls = transportsOf(server.url, server.acme.key).map(([name, transport]) => ({
    name,
    call: streamMany({ streams: createClient(EventStreamService, transport) }, targets),
  }));
  for (const { call } of calls) {
    await call.until(() => expect(targets.every(({ label = "" }) => call.of(label).opened)).toBe(true));
  }
  await publish(
    server.acme,
    repeat(200, (i) =>
      token([root, child, grandchild, sibling][i % 4] ?? "", `${i}`, i % 3 === 0 ? "u" : "t"),
    ),
    { batch: 10 },
  );
  await close(root, true);
  for (const { label = "", ...target } of targets) {
    const expected = await alone(target);
    for (const { name, call } of calls) {
      await call.until(() => expect(call.of(label).ended, `${name}, ${label}`).toBeDefined());
      expect(call.of(label).events, `${name}, ${label}`).toEqual(expected.events);
      expect({ ...call.of(label).ended, status: 0 }).toEqual({ ...expected.ended, status: 0 });
    }
  }
  for (const { call } of calls) {
    await call.end();
    expect(call.labels.size).toBe(targets.length);
  }
});

test("a bad target is an error of its label alone, with the code in lower snake case; the others go on", async () => {
  const [good, foreign] = [await closedWorkflow("good"), await newWorkflow(server.globex)];
  const cases: [label: string, target: TargetInit, code: string, message: RegExp][] = [
    ["bad id", { workflowId: "x" }, "invalid_argument", /^workflow_id must be a UUID/],
    ["no id", {}, "invalid_argument", /^workflow_id must be a UUID/],
    ["unknown", { workflowId: uuidv7() }, "not_found", /does not exist/],
    ["foreign", { workflowId: foreign }, "permission_denied", /belongs to another tenant/],
    ["no task", { workflowId: good, scope: TASK }, "invalid_argument", /^task_execution_id: missing/],
    [
      "bad task",
      { workflowId: good, scope: TASK, taskExecutionId: "\u0000" },
      "invalid_argument",
      /^task_execution_id must/,
    ],
    [
      "bad scope",
      { workflowId: good, scope: 9 as StreamScope },
      "invalid_argument",
      /^scope must be a value of StreamScope/,
    ],
    [
      "bad type",
      { workflowId: good, options: { types: [0] } },
      "invalid_argument",
      /^options\.types\[0] must not be/,
    ],
    [
      "bad conflation",
      { workflowId: good, options: { conflateTypes: [EventType.TOKEN] } },
      "invalid_argument",
      /^options\.conflate_types\[0] must be one of/,
    ],
    [
      "bad heartbeat",
      { workflowId: good, options: { heartbeatIntervalMs: 1 } },
      "invalid_argument",
      /^options\.heartbeat_interval_ms/,
    ],
    [
      "bad interval",
      { workflowId: good, options: { minIntervalMs: 15_000 } },
      "invalid_argument",
      /^options\.min_interval_ms: 15000 must be below the heartbeat interval/,
    ],
    [
      "beyond",
      { workflowId: good, options: { start: { case: "afterOffset", value: 99n } } },
      "out_of_range",
      /^options\.after_offset: 99 is beyond the tail/,
    ],
    ["restored", { workflowId: good, options: { expectedEpoch: 1n } }, "aborted", /^options\.expected_epoch/],
    ["", { workflowId: good }, "invalid_argument", /^label must have at least 1 character/],
    ["x".repeat(65), { workflowId: good }, "invalid_argument", /^label must have at most 64 characters/],
  ];
  const targets = cases.map(([label, target]) => ({ ...target, label }));
  const call = streamMany(server.acme, [
    { label: "first", workflowId: good },
    ...targets,
    { label: "last", workflowId: good },
  ]);
  await call.end();
  for (const [label, , code, message] of cases) {
    expect(said(call.of(label)), label).toEqual([code, expect.stringMatching(message)]);
    expect(call.of(label).cases, label).toEqual([]);
  }
  for (const label of ["first", "last"]) {
    expect(call.of(label).texts.slice(1, 2)).toEqual(["good"]);
    expect(call.of(label).ended).toBeDefined();
  }
});

test("a label that several targets have is refused once, and none of them begins", async () => {
  const good = await closedWorkflow();
  const targets = ["a", "b", "a", "a"].map((label) => ({ label, workflowId: good }));
  const call = await streamMany(server.acme, targets).end();
  expect(said(call.of("a"))).toEqual([
    "invalid_argument",
    expect.stringMatching(/^label: "a" is that of 3 targets/),
  ]);
  expect(call.order.filter((label) => label === "a").length).toBe(1);
  expect(call.of("b").ended).toBeDefined();
});

test("without a target, or with more than 500, the call itself is refused", async () => {
  for (const count of [0, 501]) {
    const targets = repeat(count, (i) => ({ label: `${i}`, workflowId: uuidv7() }));
    const error = await errorOf(server.acme.streams.streamMany({ targets }));
    expect(error.message).toMatch(
      new RegExp(`^\\[invalid_argument\\] targets must hold 1–500, found ${count}`),
    );
  }
});

test("a call of bad targets alone ends OK after their errors", async () => {
  const call = await streamMany(
    server.acme,
    repeat(500, (i) => ({ label: `${i}`, workflowId: uuidv7() })),
  ).end();
  expect([...call.labels.values()].map(({ error }) => error?.code)).toEqual(repeat(500, () => "not_found"));
});

test("each label is resumed by its own options", async () => {
  const [one, two] = [await newWorkflow(server.acme), await newWorkflow(server.acme)];
  const ids = [one, two];
  const write = (text: string) =>
    publish(
      server.acme,
      ids.map((id) => token(id, text)),
    );
  await write("0");
  const before = new Map<string, number[]>();
  {
    await using call = streamMany(
      server.acme,
      ids.map((workflowId) => ({ label: workflowId, workflowId })),
    );
    await call.until(() =>
      expect(ids.map((id) => call.of(id).offsets)).toEqual([
        [1, 2],
        [1, 2],
      ]),
    );
    await write("1");
    await call.until(() => expect(call.of(one).offsets).toEqual([1, 2, 3]));
    for (const id of ids) before.set(id, call.of(id).offsets);
  }
  await write("2");
  const call = streamMany(
    server.acme,
    ids.map((workflowId) => ({
      label: workflowId,
      workflowId,
      options: { start: { case: "afterOffset", value: BigInt(before.get(workflowId)?.at(-1) ?? 0) } },
    })),
  );
  await Promise.all(ids.map((id) => close(id)));
  await call.end();
  for (const id of ids) expect([...(before.get(id) ?? []), ...call.of(id).offsets]).toEqual([1, 2, 3, 4, 5]);
});

test("a label that ends, by its idle timeout too, leaves the others alone", async () => {
  const [open, closed] = [await newWorkflow(server.acme), await closedWorkflow("x")];
  await using call = streamMany(server.acme, [
    { label: "idle", workflowId: open, options: { idleTimeoutMs: 50 } },
    { label: "closed", workflowId: closed },
    { label: "open", workflowId: open },
  ]);
  await call.until(() => expect([call.of("idle").isOver, call.of("closed").isOver]).toEqual([true, true]));
  expect(call.of("idle").closing?.reason).toBe(ClosingReason.IDLE_TIMEOUT);
  await publish(server.acme, [token(open, "still there")]);
  await call.until(() => expect(call.of("open").texts.at(-1)).toBe("still there"));
  expect(call.hasFinished).toBe(false);
});

test("initial_grant is of Multiplex: here nothing could be granted after it", async () => {
  const id = await closedWorkflow("a", "b");
  const call = await streamMany(server.acme, [{ label: "a", workflowId: id, initialGrant: 0 }]).end();
  expect(call.of("a").offsets).toEqual([1, 2, 3, 4]);
});

test("a stream token opens the labels that it covers", async () => {
  const [mine, other] = [await closedWorkflow("a"), await closedWorkflow("b")];
  const { token: key } = await server.acme.tokens.createStreamToken({ workflowIds: [mine] });
  const call = await streamMany(server.clients(key), [
    { label: "mine", workflowId: mine },
    { label: "other", workflowId: other },
  ]).end();
  expect(call.of("mine").ended).toBeDefined();
  expect(call.of("other").error?.code).toBe("permission_denied");
});

test("one call counts once, however many labels it has, and a client that leaves frees them all", async () => {
  const ids = await Promise.all(repeat(20, () => newWorkflow(server.acme)));
  await using call = streamMany(
    server.acme,
    ids.map((workflowId) => ({ label: workflowId, workflowId })),
  );
  await call.until(() => expect(ids.every((id) => call.of(id).offsets.length === 1)).toBe(true));
  expect(server.server.gauges()).toMatchObject({ openCalls: 1, liveStreams: 20 });
});

test("an expired credential is told to every label", async () => {
  const ids = await Promise.all(repeat(3, () => newWorkflow(server.acme)));
  const { token: key } = await server.acme.tokens.createStreamToken({ workflowIds: ids, ttlSeconds: 2 });
  const call = await streamMany(
    server.clients(key),
    ids.map((workflowId) => ({ label: workflowId, workflowId })),
  ).end();
  expect(ids.map((id) => call.of(id).closing?.reason)).toEqual(
    repeat(3, () => ClosingReason.CREDENTIAL_EXPIRED),
  );
});

test("a revoked key is told to every label", async () => {
  const revoked = await createTenant(server.admin, "revoked");
  const ids = await Promise.all(repeat(3, () => newWorkflow(revoked)));
  const call = streamMany(
    revoked,
    ids.map((workflowId) => ({ label: workflowId, workflowId })),
  );
  await call.until(() => expect(call.labels.size).toBe(3));
  await server.admin.admin.updateTenant({ slug: "revoked", disabled: true });
  await call.end(30_000);
  expect(ids.map((id) => call.of(id).closing?.reason)).toEqual(repeat(3, () => ClosingReason.REVOKED));
});

test("a server that stops tells every label over every protocol, and the call ends in order", async () => {
  const ids = await Promise.all(repeat(5, () => newWorkflow(server.acme)));
  const targets = ids.map((workflowId) => ({ label: workflowId, workflowId }));
  const calls = transportsOf(server.url, server.acme.key).map(
    ([name, transport]) =>
      [name, streamMany({ streams: createClient(EventStreamService, transport) }, targets)] as [
        string,
        LabelledCall,
      ],
  );
  for (const [, call] of calls) await call.until(() => expect(call.labels.size).toBe(5));
  await server.restart();
  for (const [name, call] of calls) {
    await call.end();
    expect(
      ids.map((id) => call.of(id).closing?.reason),
      name,
    ).toEqual(repeat(5, () => ClosingReason.DRAINING));
  }
});

test("500 labels are complete and in order while a tree of them is written", async () => {
  const root = await newWorkflow(server.acme);
  const ids = await Promise.all(repeat(499, () => newWorkflow(server.acme, root)));
  const call = streamMany(server.acme, [
    { label: "tree", scope: CONSOLIDATED, workflowId: root },
    ...ids.map((workflowId) => ({ label: workflowId, workflowId })),
  ]);
  await publish(
    server.acme,
    repeat(10_000, (i) => token(ids[i % ids.length] ?? "", `${i}`)),
    { batch: 500 },
  );
  await close(root, true);
  await call.end(30_000);
  expect(call.of("tree").offsets).toEqual(repeat(500 + 10_000 + 500, (i) => i + 1));
  for (const [at, id] of ids.entries()) {
    const texts = repeat(10_000, (i) => i)
      .filter((i) => i % ids.length === at)
      .map(String);
    expect(call.of(id).texts.slice(1, -1)).toEqual(texts);
    expect(call.of(id).ended).toBeDefined();
  }
});
