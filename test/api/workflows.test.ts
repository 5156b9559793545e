import { create } from "@bufbuild/protobuf";
import { v4 as uuidv4, v7 as uuidv7 } from "uuid";
import { expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  type CloseWorkflowRequest,
  CloseWorkflowRequestSchema,
  type ListWorkflowsRequest,
  type Workflow,
} from "../../gen/tributary/v1/workflow_service_pb.ts";
import { type Clients, createTenant, useServer } from "../support/server.ts";
import { codeOf, errorOf } from "./codes.ts";
import { follow, readToEnd, textOf } from "./subscription.ts";
import { createWorkflow, type Fields, newFamily, newWorkflow, readAll, repeat } from "./trees.ts";

const server = useServer();
const { COMPLETED, FAILED, CANCELLED, RUNNING, UNSPECIFIED } = WorkflowStatus;

async function get(clients: Clients, workflowId: string): Promise<Workflow> {
  const { workflow } = await clients.workflows.getWorkflow({ workflowId });
  if (workflow === undefined) throw new Error("no workflow in the answer");
  return workflow;
}

async function tail(clients: Clients, workflowId: string): Promise<number> {
  return Number((await clients.streams.readEvents({ workflowId, limit: 1 })).tailOffset);
}

const close = (clients: Clients, workflowId: string, more: Fields<CloseWorkflowRequest> = {}) =>
  clients.workflows.closeWorkflow(
    create(CloseWorkflowRequestSchema, { workflowId, status: COMPLETED, ...more }),
  );

// --- Creating

test("a workflow without a given id gets a UUIDv7 and is an open root of its own", async () => {
  const before = Date.now();
  const workflow = await createWorkflow(server.acme, { name: "made", metadata: { a: "1", b: "" } });
  expect(workflow.workflowId).toMatch(
    /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  expect(workflow).toMatchObject({
    parentWorkflowId: "",
    rootWorkflowId: workflow.workflowId,
    name: "made",
    status: RUNNING,
    metadata: { a: "1", b: "" },
    depth: 0,
    closedMs: 0n,
    cancelRequestedMs: 0n,
    openInSubtree: 1,
  });
  expect(Math.abs(Number(workflow.createdMs) - before)).toBeLessThan(60_000);
  expect(await get(server.acme, workflow.workflowId)).toEqual(workflow);
});

test("a given id is kept, stored in lower case, and found in any case", async () => {
  const id = uuidv4();
  const workflow = await createWorkflow(server.acme, { workflowId: id.toUpperCase() });
  expect(workflow.workflowId).toBe(id);
  expect((await get(server.acme, id.toUpperCase())).workflowId).toBe(id);
  const child = await createWorkflow(server.acme, { parentWorkflowId: id.toUpperCase() });
  expect(child.parentWorkflowId).toBe(id);
  const again = await createWorkflow(server.acme, { workflowId: id });
  expect(again.createdMs).toBe(workflow.createdMs);
});

test("a workflow's first event tells parent, name, depth and metadata", async () => {
  const root = await createWorkflow(server.acme, { name: "näme \u{1F680}", metadata: { k: "v" } });
  const child = await createWorkflow(server.acme, { name: "child", parentWorkflowId: root.workflowId });
  const events = await readAll(server.acme, root.workflowId);
  expect(events.map((event) => [event.type, event.workflowId, event.taskExecutionId])).toEqual([
    [EventType.WORKFLOW_CREATED, root.workflowId, ""],
    [EventType.WORKFLOW_CREATED, child.workflowId, ""],
  ]);
  expect(events.map((event) => JSON.parse(textOf(event)))).toEqual([
    { name: "näme \u{1F680}", depth: 0, metadata: { k: "v" } },
    { parentWorkflowId: root.workflowId, name: "child", depth: 1, metadata: {} },
  ]);
});

test("creating the same again gives the existing one and writes nothing", async () => {
  const parentWorkflowId = await newWorkflow(server.acme);
  const content = {
    workflowId: uuidv7(),
    parentWorkflowId,
    name: "same",
    metadata: { one: "1", two: "2" },
  };
  const first = await createWorkflow(server.acme, content);
  const second = await createWorkflow(server.acme, { ...content, metadata: { two: "2", one: "1" } });
  expect(second).toEqual(first);
  expect(await tail(server.acme, parentWorkflowId)).toBe(2);

  await close(server.acme, content.workflowId);
  const third = await createWorkflow(server.acme, content);
  expect(third).toMatchObject({ workflowId: first.workflowId, status: COMPLETED });
});

test("creating the same at the same time makes one workflow", async () => {
  const workflowId = uuidv7();
  const made = await Promise.all(
    repeat(12, () => createWorkflow(server.acme, { workflowId, name: "at once" })),
  );
  expect(new Set(made.map((workflow) => workflow.createdMs)).size).toBe(1);
  expect(await tail(server.acme, workflowId)).toBe(1);
});

test("a taken id with other content is ALREADY_EXISTS and changes nothing", async () => {
  const parent = await newWorkflow(server.acme);
  const id = uuidv7();
  const content = { workflowId: id, name: "mine", metadata: { a: "1" }, retention: { maxEvents: 1000n } };
  const before = await createWorkflow(server.acme, content);
  const others = [
    { ...content, name: "other" },
    { ...content, metadata: { a: "2" } },
    { ...content, metadata: {} },
    { ...content, metadata: { a: "1", b: "" } },
    { ...content, parentWorkflowId: parent, retention: {} },
    { ...content, retention: { maxEvents: 999n } },
  ];
  for (const other of others) {
    expect(await codeOf(createWorkflow(server.acme, other)), JSON.stringify(other.metadata)).toBe(
      "AlreadyExists",
    );
  }
  expect(await get(server.acme, id)).toEqual(before);
  expect(await tail(server.acme, id)).toBe(1);
});

test("another tenant's id is ALREADY_EXISTS even with the same content, and stays the other's", async () => {
  const id = uuidv7();
  await createWorkflow(server.globex, { workflowId: id, name: "theirs" });
  const error = await errorOf(createWorkflow(server.acme, { workflowId: id, name: "theirs" }));
  expect(error.message).toMatch(/^\[already_exists\]/);
  expect(error.message).not.toContain("globex");
  expect(await codeOf(server.acme.workflows.getWorkflow({ workflowId: id }))).toBe("PermissionDenied");
  expect((await get(server.globex, id)).status).toBe(RUNNING);
});

test("an unknown, a foreign and a closed parent are refused, each with its code, and no child is left", async () => {
  const closed = await newWorkflow(server.acme);
  await close(server.acme, closed);
  const cases = [
    [uuidv7(), "NotFound"],
    [await newWorkflow(server.globex), "PermissionDenied"],
    [closed, "FailedPrecondition"],
  ] as const;
  for (const [parentWorkflowId, code] of cases) {
    const workflowId = uuidv7();
    expect(await codeOf(createWorkflow(server.acme, { workflowId, parentWorkflowId }))).toBe(code);
    expect(await codeOf(server.acme.workflows.getWorkflow({ workflowId }))).toBe("NotFound");
  }
});

test("a workflow cannot be its own parent", async () => {
  const id = uuidv7();
  expect(["NotFound", "InvalidArgument", "FailedPrecondition"]).toContain(
    await codeOf(createWorkflow(server.acme, { workflowId: id, parentWorkflowId: id })),
  );
  expect(await codeOf(server.acme.workflows.getWorkflow({ workflowId: id }))).toBe("NotFound");

  const { root, child } = await newFamily(server.acme);
  expect(await codeOf(createWorkflow(server.acme, { workflowId: root, parentWorkflowId: child }))).toBe(
    "AlreadyExists",
  );
  expect((await get(server.acme, root)).parentWorkflowId).toBe("");
});

test("depth 32 is the deepest", async () => {
  let workflow = await createWorkflow(server.acme);
  const root = workflow.workflowId;
  for (let depth = 1; depth <= 32; depth += 1) {
    workflow = await createWorkflow(server.acme, { parentWorkflowId: workflow.workflowId });
    expect(workflow).toMatchObject({ depth, rootWorkflowId: root });
  }
  expect(await codeOf(createWorkflow(server.acme, { parentWorkflowId: workflow.workflowId }))).toBe(
    "FailedPrecondition",
  );
  expect((await get(server.acme, root)).openInSubtree).toBe(33);
});

test("names have 1 to 200 characters, metadata at most 16 KiB, and neither a U+0000", async () => {
  const kib = 1024;
  const refused = [
    [{ name: "" }, "name"],
    [{ name: "x".repeat(201) }, "name"],
    [{ name: "a\0b" }, "name"],
    [{ metadata: { k: "v".repeat(16 * kib) } }, "metadata"],
    [{ metadata: { k: "€".repeat(6 * kib) } }, "metadata"],
    [{ metadata: Object.fromEntries(repeat(100, (index) => [`key-${index}`, "v".repeat(200)])) }, "metadata"],
    [{ metadata: { k: "a\0b" } }, "metadata"],
    [{ metadata: { "a\0b": "v" } }, "metadata"],
  ] as const;
  for (const [request, field] of refused) {
    const workflowId = uuidv7();
    const error = await errorOf(createWorkflow(server.acme, { ...request, workflowId }));
    expect(error.message).toMatch(/^\[invalid_argument\]/);
    expect(error.message).toContain(field);
    expect(await codeOf(server.acme.workflows.getWorkflow({ workflowId }))).toBe("NotFound");
  }
  for (const accepted of [
    { name: "x" },
    { name: "x".repeat(200) },
    { name: "\u{1F680}".repeat(200) },
    { name: "line\nbreak" },
    { metadata: { k: "v".repeat(15 * kib), "": "empty key", e: "" } },
  ]) {
    expect(await createWorkflow(server.acme, accepted)).toMatchObject(accepted);
  }
});

test("retention belongs to roots", async () => {
  const root = await createWorkflow(server.acme, {
    retention: { maxAgeAfterCloseMs: 1000n, maxEvents: 10n },
  });
  const error = await errorOf(
    createWorkflow(server.acme, { parentWorkflowId: root.workflowId, retention: { maxEvents: 10n } }),
  );
  expect(error.message).toMatch(/^\[invalid_argument\].*retention/);
});

test("a malformed id is INVALID_ARGUMENT with the field's name in every call, and harms nothing", async () => {
  const { workflows, streams } = server.acme;
  const good = await newWorkflow(server.acme);
  for (const id of ["x", `${uuidv4()}0`, "", " ", "0".repeat(32), `{${uuidv4()}}`, `${uuidv4().slice(1)}g`]) {
    const calls: [string, Promise<unknown>][] = [
      ["workflow_id", workflows.getWorkflow({ workflowId: id })],
      ["workflow_id", workflows.getWorkflowTree({ workflowId: id })],
      ["workflow_id", workflows.closeWorkflow({ workflowId: id, status: COMPLETED })],
      ["workflow_id", workflows.requestCancel({ workflowId: id })],
      ["workflow_id", workflows.deleteWorkflowTree({ workflowId: id })],
      ["workflow_id", streams.readEvents({ workflowId: id })],
    ];
    if (id !== "") {
      calls.push(["workflow_id", createWorkflow(server.acme, { workflowId: id })]);
      calls.push(["parent_workflow_id", createWorkflow(server.acme, { parentWorkflowId: id })]);
      calls.push(["parent_workflow_id", workflows.listWorkflows({ parentWorkflowId: id })]);
    }
    for (const [field, call] of calls) {
      const error = await errorOf(call);
      expect(error.message).toMatch(/^\[invalid_argument\]/);
      expect(error.message).toContain(field);
    }
  }
  expect((await get(server.acme, good)).status).toBe(RUNNING);
});

test("every call that names an unknown or a foreign workflow says so", async () => {
  const { workflows } = server.acme;
  const foreign = await newWorkflow(server.globex);
  for (const [workflowId, code] of [
    [uuidv7(), "NotFound"],
    [foreign, "PermissionDenied"],
  ] as const) {
    expect(await codeOf(workflows.getWorkflow({ workflowId }))).toBe(code);
    expect(await codeOf(workflows.getWorkflowTree({ workflowId }))).toBe(code);
    expect(await codeOf(workflows.closeWorkflow({ workflowId, status: COMPLETED }))).toBe(code);
    expect(await codeOf(workflows.requestCancel({ workflowId }))).toBe(code);
    expect(await codeOf(workflows.deleteWorkflowTree({ workflowId }))).toBe(code);
    expect(await codeOf(workflows.listWorkflows({ parentWorkflowId: workflowId }))).toBe(code);
  }
  expect((await get(server.globex, foreign)).cancelRequestedMs).toBe(0n);
});

// --- Listing

async function list(clients: Clients, request: Fields<ListWorkflowsRequest>) {
  const pages: string[][] = [];
  for (let pageToken = ""; ; ) {
    const page = await clients.workflows.listWorkflows({ ...request, pageToken });
    pages.push(page.workflows.map((workflow) => workflow.name));
    if (page.nextPageToken === "") return pages;
    pageToken = page.nextPageToken;
  }
}

test("lists are newest first, by pages that miss nothing and repeat nothing", async () => {
  const lists = await createTenant(server.admin, "lists");
  for (const name of repeat(7, (index) => `w${index}`)) await createWorkflow(lists, { name });
  const newestFirst = ["w6", "w5", "w4", "w3", "w2", "w1", "w0"];
  for (const pageSize of [1, 2, 3, 7, 100, 0, 1000]) {
    const pages = await list(lists, { pageSize });
    expect(pages.flat()).toEqual(newestFirst);
    for (const page of pages) expect(page.length).toBeLessThanOrEqual(pageSize || 100);
  }

  const first = await lists.workflows.listWorkflows({ pageSize: 3 });
  await createWorkflow(lists, { name: "later" });
  const second = await lists.workflows.listWorkflows({ pageSize: 100, pageToken: first.nextPageToken });
  expect(second.workflows.map((workflow) => workflow.name)).toEqual(["w3", "w2", "w1", "w0"]);
  expect(second.nextPageToken).toBe("");
});

test("a list holds at most 1000, 100 if not asked, and refuses more and tokens it did not give", async () => {
  const many = await createTenant(server.admin, "many");
  for (let at = 0; at < 105; at += 15) {
    await Promise.all(repeat(15, (index) => createWorkflow(many, { name: `w${at + index}` })));
  }
  const page = await many.workflows.listWorkflows({});
  expect(page.workflows).toHaveLength(100);
  expect(page.nextPageToken).not.toBe("");
  expect(await codeOf(many.workflows.listWorkflows({ pageSize: 1001 }))).toBe("InvalidArgument");
  for (const pageToken of ["x", "%", "\0", "e30=", "eyJhIjoxfQ", "9".repeat(5000), uuidv4()]) {
    expect(await codeOf(many.workflows.listWorkflows({ pageToken })), pageToken.slice(0, 40)).toBe(
      "InvalidArgument",
    );
    const workflowId = page.workflows[0]?.workflowId ?? "";
    expect(await codeOf(many.workflows.getWorkflowTree({ workflowId, pageToken }))).toBe("InvalidArgument");
  }
});

test("each filter of a list, and all of them together", async () => {
  const filters = await createTenant(server.admin, "filters");
  const other = await createTenant(server.admin, "filters-other");
  await createWorkflow(other, { name: "100% theirs" });
  const root = await createWorkflow(filters, { name: "root 100%" });
  const parentWorkflowId = root.workflowId;
  const child = await createWorkflow(filters, { name: "child_1", parentWorkflowId });
  await createWorkflow(filters, { name: "child-1", parentWorkflowId });
  await createWorkflow(filters, { name: "grandchild", parentWorkflowId: child.workflowId });
  await createWorkflow(filters, { name: "1000 roots \\ of" });
  const failed = await createWorkflow(filters, { name: "failed child", parentWorkflowId });
  await close(filters, failed.workflowId, { status: FAILED });

  const all = ["failed child", "1000 roots \\ of", "grandchild", "child-1", "child_1", "root 100%"];
  const cases: [Fields<ListWorkflowsRequest>, string[]][] = [
    [{}, all],
    [{ status: FAILED }, ["failed child"]],
    [{ status: RUNNING }, all.slice(1)],
    [{ status: COMPLETED }, []],
    [{ rootsOnly: true }, ["1000 roots \\ of", "root 100%"]],
    [{ parentWorkflowId }, ["failed child", "child-1", "child_1"]],
    [{ parentWorkflowId, rootsOnly: true }, []],
    [{ nameContains: "child" }, ["failed child", "grandchild", "child-1", "child_1"]],
    [{ nameContains: "100%" }, ["root 100%"]],
    [{ nameContains: "child_" }, ["child_1"]],
    [{ nameContains: "\\" }, ["1000 roots \\ of"]],
    [{ nameContains: "nobody" }, []],
    [{ parentWorkflowId, status: FAILED, nameContains: "child" }, ["failed child"]],
    [{ parentWorkflowId, status: CANCELLED, nameContains: "child" }, []],
  ];
  for (const [request, names] of cases) {
    expect((await list(filters, request)).flat(), JSON.stringify(request)).toEqual(names);
    expect((await list(filters, { ...request, pageSize: 1 })).flat(), JSON.stringify(request)).toEqual(names);
  }
});

// --- Trees

test("a tree comes by pages, parents before children, from any workflow downwards", async () => {
  const { workflows } = server.acme;
  const { root, child, grandchild, sibling } = await newFamily(server.acme);
  const late = await newWorkflow(server.acme, child);
  const tree = async (workflowId: string, pageSize: number) => {
    const found: Workflow[] = [];
    for (let pageToken = ""; ; ) {
      const page = await workflows.getWorkflowTree({ workflowId, pageSize, pageToken });
      expect(page.workflows.length).toBeLessThanOrEqual(pageSize || 100);
      found.push(...page.workflows);
      if (page.nextPageToken === "") return found;
      pageToken = page.nextPageToken;
    }
  };
  for (const pageSize of [0, 1, 2, 1000]) {
    for (const [top, members] of [
      [root, [root, child, grandchild, sibling, late]],
      [child, [child, grandchild, late]],
      [sibling, [sibling]],
    ] as const) {
      const found = await tree(top, pageSize);
      expect(found.map((workflow) => workflow.workflowId).sort()).toEqual([...members].sort());
      const seen = new Set<string>();
      for (const workflow of found) {
        if (workflow.workflowId !== top) expect(seen).toContain(workflow.parentWorkflowId);
        seen.add(workflow.workflowId);
      }
    }
  }
  expect(await codeOf(workflows.getWorkflowTree({ workflowId: root, pageSize: 1001 }))).toBe(
    "InvalidArgument",
  );
});

test("open_in_subtree counts the open workflows of each subtree", async () => {
  const { root, child, grandchild, sibling } = await newFamily(server.acme);
  const counts = async () =>
    Promise.all(
      [root, child, grandchild, sibling].map(async (id) => (await get(server.acme, id)).openInSubtree),
    );
  expect(await counts()).toEqual([4, 2, 1, 1]);
  await close(server.acme, grandchild);
  expect(await counts()).toEqual([3, 1, 0, 1]);
  await close(server.acme, root);
  expect(await counts()).toEqual([2, 1, 0, 1]);
  await close(server.acme, sibling);
  await close(server.acme, child);
  expect(await counts()).toEqual([0, 0, 0, 0]);
});

// --- Closing

test.each([
  [COMPLETED, EventType.WORKFLOW_COMPLETED],
  [FAILED, EventType.WORKFLOW_FAILED],
  [CANCELLED, EventType.WORKFLOW_CANCELLED],
])("closing with status %i writes its event with the payload, once", async (status, type) => {
  const workflowId = await newWorkflow(server.acme);
  const payload = '{"why": "it \u{1F680}"}';
  const first = await close(server.acme, workflowId, { status, payload });
  expect(first.offset).toBe(2n);
  expect(first.workflow).toMatchObject({ status, openInSubtree: 0 });
  expect(Number(first.workflow?.closedMs)).toBeGreaterThan(0);

  const again = await close(server.acme, workflowId, { status, payload: "{}" });
  expect(again).toEqual(first);
  for (const other of [COMPLETED, FAILED, CANCELLED].filter((candidate) => candidate !== status)) {
    expect(await codeOf(close(server.acme, workflowId, { status: other }))).toBe("FailedPrecondition");
  }
  expect(await get(server.acme, workflowId)).toEqual(first.workflow);

  const events = await readAll(server.acme, workflowId);
  expect(events.map((event) => event.type)).toEqual([EventType.WORKFLOW_CREATED, type]);
  expect(events[1]).toMatchObject({ workflowId, taskExecutionId: "", offset: 2n });
  expect(events.map(textOf)[1]).toBe(payload);
});

test("a workflow closes only as COMPLETED, FAILED or CANCELLED, with at most 1 MiB", async () => {
  const workflowId = await newWorkflow(server.acme);
  for (const status of [UNSPECIFIED, RUNNING, 99 as WorkflowStatus]) {
    const error = await errorOf(close(server.acme, workflowId, { status }));
    expect(error.message).toMatch(/^\[invalid_argument\].*status/);
  }
  const limit = 1024 * 1024;
  const payload = JSON.stringify("x".repeat(limit - 2));
  const error = await errorOf(close(server.acme, workflowId, { payload: `${payload} ` }));
  expect(error.message).toMatch(/^\[invalid_argument\].*payload/);
  expect((await get(server.acme, workflowId)).status).toBe(RUNNING);
  await close(server.acme, workflowId, { payload });
  expect((await readAll(server.acme, workflowId)).map(textOf).at(-1)).toBe(payload);
});

test("two that close at the same time with different statuses: one of them does", async () => {
  const workflowId = await newWorkflow(server.acme);
  const codes = await Promise.all(
    [COMPLETED, FAILED, COMPLETED, CANCELLED].map(async (status) => ({
      status,
      code: await codeOf(close(server.acme, workflowId, { status })),
    })),
  );
  const { status } = await get(server.acme, workflowId);
  for (const result of codes) {
    expect(result.code).toBe(result.status === status ? "OK" : "FailedPrecondition");
  }
  expect(await tail(server.acme, workflowId)).toBe(2);
});

test("closing descendants cancels the open ones, deepest first, and leaves the closed as they were", async () => {
  const { root, child, grandchild, sibling } = await newFamily(server.acme);
  const deepest = await newWorkflow(server.acme, grandchild);
  const done = await newWorkflow(server.acme, child);
  await close(server.acme, done, { status: FAILED });
  const start = await tail(server.acme, root);

  const { offset, workflow } = await close(server.acme, root, { closeDescendants: true });
  expect(workflow).toMatchObject({ status: COMPLETED, openInSubtree: 0 });
  const events = await readAll(server.acme, root);
  const written = events.filter((event) => Number(event.offset) > start);
  expect(written.at(-1)).toMatchObject({ workflowId: root, type: EventType.WORKFLOW_COMPLETED, offset });
  const cancelled = written.slice(0, -1);
  expect(cancelled.every((event) => event.type === EventType.WORKFLOW_CANCELLED)).toBe(true);
  const order = cancelled.map((event) => event.workflowId);
  expect(order.slice(0, 2)).toEqual([deepest, grandchild]);
  expect(order.slice(2).sort()).toEqual([child, sibling].sort());
  expect((await get(server.acme, done)).status).toBe(FAILED);
  for (const id of [deepest, grandchild, child, sibling]) {
    expect((await get(server.acme, id)).status).toBe(CANCELLED);
  }
});

test("closing a subtree with its descendants leaves the rest of the tree open", async () => {
  const { root, child, grandchild, sibling } = await newFamily(server.acme);
  await close(server.acme, child, { status: FAILED, closeDescendants: true });
  const statuses = await Promise.all(
    [root, child, grandchild, sibling].map(async (id) => (await get(server.acme, id)).status),
  );
  expect(statuses).toEqual([RUNNING, FAILED, CANCELLED, RUNNING]);
});

test("open children keep the consolidated stream open, and the last of them ends it", async () => {
  const { streams } = server.acme;
  const { root, child, grandchild, sibling } = await newFamily(server.acme);
  await using tree = follow((options) => streams.streamWorkflowConsolidated({ workflowId: root }, options));
  await using own = follow((options) => streams.streamWorkflow({ workflowId: root }, options));
  await using subtree = follow((options) =>
    streams.streamWorkflowConsolidated({ workflowId: child }, options),
  );
  await close(server.acme, root, { status: FAILED });
  await own.end();
  expect(own.ended).toMatchObject({ status: FAILED, finalOffset: 5n });
  await close(server.acme, child);
  await close(server.acme, sibling);
  await tree.until(() => expect(tree.events).toHaveLength(7));
  expect(tree.ended).toBeUndefined();
  expect(subtree.ended).toBeUndefined();
  const late = await codeOf(createWorkflow(server.acme, { parentWorkflowId: root }));
  expect(late).toBe("FailedPrecondition");
  const { offset } = await close(server.acme, grandchild, { status: CANCELLED });
  await Promise.all([tree.end(), subtree.end()]);
  expect(tree.ended).toMatchObject({ status: FAILED, finalOffset: offset });
  expect(subtree.ended).toMatchObject({ status: COMPLETED, finalOffset: offset });
});

test("what was accepted before the close is stored before the close", async () => {
  const { tasks } = server.acme;
  const workflowId = await newWorkflow(server.acme);
  const count = 300;
  for (let at = 0; at < count; at += 100) {
    await Promise.all(
      repeat(100, (index) =>
        tasks.streamTaskData({
          workflowExecutionId: workflowId,
          taskExecutionId: `t${at + index}`,
          type: EventType.TOKEN,
        }),
      ),
    );
  }
  const { offset } = await close(server.acme, workflowId);
  expect(offset).toBe(BigInt(count + 2));
  const { offsets, ended } = await readToEnd((options) =>
    server.acme.streams.streamWorkflow({ workflowId }, options),
  );
  expect(offsets).toEqual(repeat(count + 2, (index) => index + 1));
  expect(ended?.finalOffset).toBe(offset);
});

// --- Cancelling

test("a cancel request is an event with the reason and a mark on this workflow alone", async () => {
  const { workflows } = server.acme;
  const { root, child, sibling } = await newFamily(server.acme);
  const reason = 'enough of "it"\n\u{1F680}';
  const { workflow } = await workflows.requestCancel({ workflowId: child, reason });
  expect(workflow).toMatchObject({ workflowId: child, status: RUNNING });
  expect(Number(workflow?.cancelRequestedMs)).toBeGreaterThan(0);
  expect(await get(server.acme, child)).toEqual(workflow);
  for (const id of [root, sibling]) expect((await get(server.acme, id)).cancelRequestedMs).toBe(0n);
  const event = (await readAll(server.acme, root)).at(-1);
  expect(event).toMatchObject({ workflowId: child, type: EventType.CANCEL_REQUESTED, taskExecutionId: "" });
  expect(event && JSON.parse(textOf(event))).toEqual({ reason });
});

test("a closed workflow cannot be asked to stop", async () => {
  const workflowId = await newWorkflow(server.acme);
  await close(server.acme, workflowId);
  expect(await codeOf(server.acme.workflows.requestCancel({ workflowId }))).toBe("FailedPrecondition");
  expect(await tail(server.acme, workflowId)).toBe(2);
});

// --- Deleting

test("a closed tree can be deleted with all its events, an open one and a part of one cannot", async () => {
  const { workflows, streams } = server.acme;
  const { root, child, grandchild, sibling } = await newFamily(server.acme);
  const remove = () => workflows.deleteWorkflowTree({ workflowId: root });
  expect(await codeOf(remove())).toBe("FailedPrecondition");
  await close(server.acme, root);
  expect(await codeOf(remove())).toBe("FailedPrecondition");
  for (const workflowId of [child, grandchild, sibling]) await close(server.acme, workflowId);
  expect(["InvalidArgument", "FailedPrecondition"]).toContain(
    await codeOf(workflows.deleteWorkflowTree({ workflowId: child })),
  );
  expect(await tail(server.acme, root)).toBe(8);

  expect((await remove()).deletedEvents).toBe(8n);
  for (const workflowId of [root, child, grandchild, sibling]) {
    expect(await codeOf(workflows.getWorkflow({ workflowId }))).toBe("NotFound");
    expect(await codeOf(streams.readEvents({ workflowId }))).toBe("NotFound");
    expect(await codeOf(streams.streamWorkflow({ workflowId }))).toBe("NotFound");
  }
  expect(await codeOf(remove())).toBe("NotFound");
});
