/** WatchWorkflows on one instance: what a client of it sees. */
import { toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { ClosingReason, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  WatchWorkflowsResponseSchema,
  type Workflow,
  WorkflowService,
} from "../../gen/tributary/v1/workflow_service_pb.ts";
import { type Clients, createTenant, useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { Watching } from "../watch/watching.ts";
import { codeOf } from "./codes.ts";
import { createWorkflow, inLots, newFamily, newWorkflow } from "./trees.ts";

const server = useServer();
const MiB = 1024 * 1024;
let tenants = 0;

/** A tenant of its own, so that each test knows all that there is. */
const newTenant = (roles?: Role[]) => createTenant(server.admin, `watched-${++tenants}`, roles);

async function newWorkflows(clients: Clients, count: number, parentWorkflowId = ""): Promise<string[]> {
  const ids: string[] = [];
  while (ids.length < count) {
    const some = Math.min(50, count - ids.length);
    ids.push(
      ...(await Promise.all(Array.from({ length: some }, () => newWorkflow(clients, parentWorkflowId)))),
    );
  }
  return ids;
}

const read = async ({ workflows }: Clients, workflowId: string) =>
  (await workflows.getWorkflow({ workflowId })).workflow as Workflow;

test("the snapshot is the newest first, at most as many as were asked for, and is said to be complete", async () => {
  const clients = await newTenant();
  {
    await using empty = new Watching(clients.workflows);
    await empty.live();
    expect(empty.cases).toEqual(["snapshotComplete"]);
  }
  const ids: string[] = [];
  for (let i = 0; i < 120; i++) ids.push(await newWorkflow(clients));
  const newestFirst = ids.toReversed();
  for (const [snapshotSize, expected] of [
    [0, newestFirst.slice(0, 100)],
    [1, newestFirst.slice(0, 1)],
    [7, newestFirst.slice(0, 7)],
    [1000, newestFirst],
  ] as const) {
    await using watch = new Watching(clients.workflows, { snapshotSize });
    await watch.live();
    expect(watch.snapshot, `${snapshotSize}`).toEqual(expected);
    expect(watch.known.get(newestFirst[0] ?? "")).toEqual(await read(clients, newestFirst[0] ?? ""));
  }
});

test("more than a thousand are refused", async () => {
  const watch = new Watching(server.acme.workflows, { snapshotSize: 1001 });
  expect(await codeOf(watch.finished)).toBe("InvalidArgument");
});

test("every change that a Workflow message shows is told: a creation, a cancel request, a close, and the counts above", async () => {
  const clients = await newTenant();
  await using watch = new Watching(clients.workflows);
  await using roots = new Watching(clients.workflows, { rootsOnly: true });
  await Promise.all([watch.live(), roots.live()]);
  const { root, child, grandchild, sibling } = await newFamily(clients);
  const isCurrent = async () => {
    const now = await Promise.all([root, child, grandchild, sibling].map((id) => read(clients, id)));
    await watch.until(() => {
      for (const workflow of now) expect(watch.known.get(workflow.workflowId)).toEqual(workflow);
    });
    await roots.until(() => expect([...roots.known.values()]).toEqual([now[0]]));
    return now;
  };
  expect((await isCurrent()).map(({ openInSubtree }) => openInSubtree)).toEqual([4, 2, 1, 1]);
  await clients.workflows.requestCancel({ workflowId: grandchild, reason: "enough" });
  expect((await isCurrent())[2]?.cancelRequestedMs).toBeGreaterThan(0n);
  await clients.workflows.closeWorkflow({ workflowId: grandchild, status: WorkflowStatus.FAILED });
  expect((await isCurrent()).map(({ openInSubtree }) => openInSubtree)).toEqual([3, 1, 0, 1]);
  await clients.workflows.closeWorkflow({
    workflowId: root,
    status: WorkflowStatus.COMPLETED,
    closeDescendants: true,
  });
  expect((await isCurrent()).map(({ status }) => status)).toEqual([
    WorkflowStatus.COMPLETED,
    WorkflowStatus.CANCELLED,
    WorkflowStatus.FAILED,
    WorkflowStatus.CANCELLED,
  ]);
});

test.each([false, true])(
  "a thousand workflows created while somebody watches are all told; roots_only %s",
  {
    timeout: 60_000,
  },
  async (rootsOnly) => {
    const clients = await newTenant();
    await using watch = new Watching(clients.workflows, { rootsOnly });
    await watch.live();
    const [root = ""] = await newWorkflows(clients, 1);
    const [roots, children] = await Promise.all([
      newWorkflows(clients, 500),
      newWorkflows(clients, 500, root),
    ]);
    const expected = rootsOnly ? [root, ...roots] : [root, ...roots, ...children];
    await watch.until(() => {
      expect(watch.known.size).toBe(expected.length);
      expect(watch.known.get(root)?.openInSubtree).toBe(501);
    });
    expect(watch.ids.toSorted()).toEqual(expected.toSorted());
  },
);

test("a deletion is told with every id of the tree, to those who see roots only with the root's", async () => {
  const clients = await newTenant();
  const { root, child, grandchild, sibling } = await newFamily(clients);
  const other = await newWorkflow(clients);
  await using watch = new Watching(clients.workflows);
  await using roots = new Watching(clients.workflows, { rootsOnly: true });
  await Promise.all([watch.live(), roots.live()]);
  await clients.workflows.closeWorkflow({
    workflowId: root,
    status: WorkflowStatus.COMPLETED,
    closeDescendants: true,
  });
  await clients.workflows.deleteWorkflowTree({ workflowId: root });
  await watch.until(() =>
    expect(watch.deleted.toSorted()).toEqual([root, child, grandchild, sibling].toSorted()),
  );
  await roots.until(() => expect(roots.deleted).toEqual([root]));
  expect(watch.ids).toEqual([other]);
  expect(roots.ids).toEqual([other]);
  // The id may be taken again: it lives.
  await createWorkflow(clients, { workflowId: root, name: "anew" });
  await watch.until(() => expect(watch.known.get(root)?.name).toBe("anew"));
});

test("a tree of 1,200 workflows is deleted in messages of bounded size", { timeout: 60_000 }, async () => {
  const clients = await newTenant();
  const root = await newWorkflow(clients);
  const children = await newWorkflows(clients, 1199, root);
  await using watch = new Watching(clients.workflows, { snapshotSize: 1 });
  await watch.live();
  await clients.workflows.closeWorkflow({
    workflowId: root,
    status: WorkflowStatus.COMPLETED,
    closeDescendants: true,
  });
  await clients.workflows.deleteWorkflowTree({ workflowId: root });
  await watch.until(() => expect(new Set(watch.deleted)).toEqual(new Set([root, ...children])));
});

test("messages are of at most 1 MiB, in the snapshot and after it", { timeout: 60_000 }, async () => {
  const clients = await newTenant();
  const metadata = { note: "ä".repeat(8000) };
  const make = () => Promise.all(Array.from({ length: 50 }, () => createWorkflow(clients, { metadata })));
  for (let i = 0; i < 4; i++) await make();
  const sizes: number[] = [];
  const seen = new Set<string>();
  const abort = new AbortController();
  try {
    const answers = clients.workflows.watchWorkflows({ snapshotSize: 1000 }, { signal: abort.signal });
    for await (const answer of answers) {
      sizes.push(toBinary(WatchWorkflowsResponseSchema, answer).length);
      if (answer.message.case === "workflows")
        for (const workflow of answer.message.value.workflows) {
          expect(workflow.metadata["note"]).toBe(metadata.note);
          seen.add(workflow.workflowId);
        }
      if (answer.message.case === "snapshotComplete") {
        expect(Math.max(...sizes)).toBeLessThan(MiB + 20_000);
        expect(seen.size).toBe(200);
        seen.clear();
        sizes.length = 0;
        // All of them in one transaction, hence in one look.
        await server.pool.query(
          `update workflow set metadata = metadata || '{"again": "yes"}' where tenant_slug = $1`,
          [`watched-${tenants}`],
        );
      } else if (seen.size === 200) break;
    }
  } finally {
    abort.abort();
  }
  expect(Math.max(...sizes)).toBeLessThan(MiB + 20_000);
  expect(Math.max(...sizes)).toBeGreaterThan(MiB / 2);
  expect(sizes.length).toBeGreaterThan(2);
});

test("JSON says the same as the binary encoding that all watchers share", async () => {
  const clients = await newTenant();
  const transport = createConnectTransport({
    baseUrl: server.url,
    httpVersion: "1.1",
    useBinaryFormat: false,
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${clients.key}`);
        return next(request);
      },
    ],
  });
  const first = await newWorkflow(clients);
  await using binary = new Watching(clients.workflows);
  await using json = new Watching(createClient(WorkflowService, transport));
  await Promise.all([binary.live(), json.live()]);
  await createWorkflow(clients, { parentWorkflowId: first, metadata: { a: "b", ü: "" } });
  await clients.workflows.closeWorkflow({ workflowId: first, status: WorkflowStatus.FAILED });
  await binary.until(() => expect(binary.known.get(first)?.status).toBe(WorkflowStatus.FAILED));
  await json.until(() => expect(json.known.get(first)?.status).toBe(WorkflowStatus.FAILED));
  expect(json.known).toEqual(binary.known);
  expect(binary.known.size).toBe(2);
});

test("nothing of another tenant is told", async () => {
  const [mine, theirs] = [await newTenant(), await newTenant()];
  await using watch = new Watching(mine.workflows);
  await watch.live();
  const { root } = await newFamily(theirs);
  await theirs.workflows.closeWorkflow({
    workflowId: root,
    status: WorkflowStatus.COMPLETED,
    closeDescendants: true,
  });
  await theirs.workflows.deleteWorkflowTree({ workflowId: root });
  const own = await newWorkflow(mine);
  await watch.until(() => expect(watch.ids).toEqual([own]));
  expect(watch.order).toEqual([own]);
  expect(watch.deleted).toEqual([]);
});

test("a key without READ, and a stream token, may not watch", async () => {
  const publisher = await newTenant([Role.PUBLISH]);
  expect(await codeOf(new Watching(publisher.workflows).finished)).toBe("PermissionDenied");
  const workflowId = await newWorkflow(server.acme);
  const { token } = await server.acme.tokens.createStreamToken({ workflowIds: [workflowId] });
  const holder = server.clients(token);
  expect(await codeOf(new Watching(holder.workflows).finished)).toBe("PermissionDenied");
});

test("a watch whose key is revoked, or whose server drains, ends in words", async () => {
  const clients = await newTenant();
  const { apiKeyId, key } = await server.admin.admin.createApiKey({
    tenantSlug: `watched-${tenants}`,
    roles: [Role.READ],
  });
  await using revoked = new Watching(server.clients(key).workflows);
  await using drained = new Watching(clients.workflows);
  await Promise.all([revoked.live(), drained.live()]);
  await clients.admin.revokeApiKey({ apiKeyId });
  await revoked.finished;
  expect(revoked.closing?.reason).toBe(ClosingReason.REVOKED);
  expect(drained.closing).toBeUndefined();
  const restarted = server.restart();
  await drained.finished;
  expect(drained.closing).toMatchObject({ reason: ClosingReason.DRAINING });
  expect(drained.closing?.reconnectAfterMs).toBeGreaterThan(0);
  await restarted;
});

test("a thousand watchers of one tenant get what changes, and leave nothing behind", {
  timeout: 60_000,
}, async () => {
  const clients = await newTenant();
  const watches = await inLots(1000, () => new Watching(clients.workflows, { rootsOnly: true }).live());
  const root = await newWorkflow(clients);
  await newWorkflow(clients, root);
  const told = (watch: Watching) => expect(watch.known.get(root)?.openInSubtree).toBe(2);
  await Promise.all(watches.map((watch) => watch.until(() => told(watch), 25_000)));
  await Promise.all(watches.map((watch) => watch[Symbol.asyncDispose]()));
  await until(() =>
    expect(server.server.gauges()).toEqual({ openCalls: 0, liveStreams: 0, waitingCommands: 0 }),
  );
});
