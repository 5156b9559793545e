import { v4 as uuidv4, v7 as uuidv7 } from "uuid";
import { expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { type Clients, useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { codeOf, errorOf } from "./codes.ts";
import { readToEnd } from "./subscription.ts";
import { newFamily, newWorkflow, publish, readAll, repeat, token } from "./trees.ts";

const server = useServer();

/** Clients with a stream token of acme for these workflows. */
async function guest(...workflowIds: string[]): Promise<Clients> {
  return server.clients((await server.acme.tokens.createStreamToken({ workflowIds })).token);
}

/** How each kind of reading one workflow ends. */
async function readingCodes({ streams }: Clients, workflowId: string): Promise<string[]> {
  return [
    await codeOf(streams.streamWorkflow({ workflowId })),
    await codeOf(streams.streamWorkflowConsolidated({ workflowId })),
    await codeOf(streams.streamTask({ workflowId, taskExecutionId: "t" })),
    await codeOf(streams.readEvents({ workflowId })),
    await codeOf(streams.readEvents({ workflowId, consolidated: true })),
  ];
}
const each = (code: string) => Array(5).fill(code);

async function closedFamily() {
  const family = await newFamily(server.acme);
  await publish(
    server.acme,
    Object.values(family).map((id) => token(id, id)),
  );
  await server.acme.workflows.closeWorkflow({
    workflowId: family.root,
    status: WorkflowStatus.COMPLETED,
    closeDescendants: true,
  });
  return family;
}

test("a token opens its workflow's subtree and nothing beside or above it", async () => {
  const { root, child, grandchild, sibling } = await closedFamily();
  const other = await closedFamily();
  const clients = await guest(child);
  for (const id of [child, grandchild]) expect(await readingCodes(clients, id)).toEqual(each("OK"));
  for (const id of [root, sibling, other.root, other.child]) {
    expect(await readingCodes(clients, id)).toEqual(each("PermissionDenied"));
  }
  const seen = await readAll(clients, child);
  expect(new Set(seen.map((event) => event.workflowId))).toEqual(new Set([child, grandchild]));
  const { events } = await readToEnd((options) =>
    clients.streams.streamWorkflowConsolidated({ workflowId: child }, options),
  );
  expect(events).toEqual(seen);
});

test("a token for several workflows opens each of them", async () => {
  const [one, two] = [await closedFamily(), await closedFamily()];
  const clients = await guest(one.grandchild, two.root, two.root);
  for (const id of [one.grandchild, ...Object.values(two)]) {
    expect(await readingCodes(clients, id)).toEqual(each("OK"));
  }
  expect(await readingCodes(clients, one.child)).toEqual(each("PermissionDenied"));
});

test("a token also opens children that start after it was made", async () => {
  const root = await newWorkflow(server.acme);
  const clients = await guest(root);
  const child = await newWorkflow(server.acme, root);
  const grandchild = await newWorkflow(server.acme, child);
  expect(await readingCodes(clients, grandchild)).toEqual(each("OK"));
});

test("a token of one tenant opens nothing of another", async () => {
  const theirs = await newWorkflow(server.globex);
  const clients = await guest(await newWorkflow(server.acme));
  expect(await readingCodes(clients, theirs)).toEqual(each("PermissionDenied"));
});

test("a token neither lists nor writes nor makes tokens", async () => {
  const workflowId = await newWorkflow(server.acme);
  const { workflows, tasks, tokens, admin } = await guest(workflowId);
  const codes = await Promise.all([
    codeOf(workflows.listWorkflows({})),
    codeOf(workflows.listWorkflows({ parentWorkflowId: workflowId })),
    codeOf(workflows.createWorkflow({ name: "x" })),
    codeOf(workflows.createWorkflow({ name: "x", parentWorkflowId: workflowId })),
    codeOf(workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED })),
    codeOf(workflows.requestCancel({ workflowId })),
    codeOf(workflows.deleteWorkflowTree({ workflowId })),
    codeOf(
      tasks.streamTaskData({ workflowExecutionId: workflowId, taskExecutionId: "t", type: EventType.TOKEN }),
    ),
    codeOf(publish({ tasks } as Clients, [token(workflowId, "")])),
    codeOf(publish({ tasks } as Clients, [])),
    codeOf(tokens.createStreamToken({ workflowIds: [workflowId] })),
    codeOf(admin.listApiKeys({ tenantSlug: "acme" })),
  ]);
  expect(codes).toEqual(codes.map(() => "PermissionDenied"));
  expect(await readAll(server.acme, workflowId)).toHaveLength(1);
});

test("tokens are made for one to a hundred workflows of the own tenant", async () => {
  const make = (workflowIds: string[], clients = server.acme) =>
    clients.tokens.createStreamToken({ workflowIds });
  const mine = await newWorkflow(server.acme);
  const theirs = await newWorkflow(server.globex);
  expect((await errorOf(make([]))).message).toMatch(/^\[invalid_argument\].*workflow_ids/);
  expect((await errorOf(make(repeat(101, () => mine)))).message).toMatch(
    /^\[invalid_argument\].*workflow_ids/,
  );
  expect((await errorOf(make([mine, "nonsense"]))).message).toMatch(/^\[invalid_argument\].*workflow_ids/);
  expect(await codeOf(make([mine, uuidv4()]))).toBe("NotFound");
  expect(await codeOf(make([mine, theirs]))).toBe("PermissionDenied");
  expect(await codeOf(make([mine], server.admin))).toBe("PermissionDenied");

  const hundred = await Promise.all(repeat(100, () => newWorkflow(server.acme)));
  const { token: value } = await make(hundred.map((id) => id.toUpperCase()));
  for (const id of [hundred[0], hundred[99]]) {
    expect(await codeOf(server.clients(value).streams.readEvents({ workflowId: id ?? "" }))).toBe("OK");
  }
});

test("a token is good for the seconds asked for, 900 if none", async () => {
  const workflowIds = [await newWorkflow(server.acme)];
  for (const [ttlSeconds, seconds] of [
    [0, 900],
    [1, 1],
    [60, 60],
    [3600, 3600],
  ] as const) {
    const before = Date.now();
    const { expiresMs } = await server.acme.tokens.createStreamToken({ workflowIds, ttlSeconds });
    const after = Date.now();
    // A JWT counts whole seconds, so it may be good for up to one more.
    expect(Number(expiresMs) - before, `of ${ttlSeconds} s, ms`).toBeGreaterThanOrEqual(seconds * 1000);
    expect(Number(expiresMs) - after, `of ${ttlSeconds} s, ms`).toBeLessThanOrEqual(seconds * 1000 + 1000);
  }
});

test("a token can be had for an hour at most", async () => {
  const workflowIds = [await newWorkflow(server.acme)];
  for (const ttlSeconds of [3601, 2 ** 32 - 1]) {
    const error = await errorOf(server.acme.tokens.createStreamToken({ workflowIds, ttlSeconds }));
    expect(error.message).toMatch(/^\[invalid_argument\].*ttl_seconds/);
  }
});

test("a token is good until it expires and not after it, as told", async () => {
  const workflowId = await newWorkflow(server.acme);
  const answer = await server.acme.tokens.createStreamToken({ workflowIds: [workflowId], ttlSeconds: 2 });
  const { streams } = server.clients(answer.token);
  let good = 0;
  await until(async () => {
    const started = Date.now();
    const code = await codeOf(streams.readEvents({ workflowId }));
    const ended = Date.now();
    if (code === "OK") expect(started, "read after its expiry").toBeLessThan(Number(answer.expiresMs) + 50);
    else expect(ended, "refused before its expiry").toBeGreaterThanOrEqual(Number(answer.expiresMs));
    if (code === "OK") good += 1;
    expect(code).toBe("Unauthenticated");
  });
  expect(good).toBeGreaterThan(0);
});

test("a changed token is no token", async () => {
  const root = await newWorkflow(server.acme);
  const other = await newWorkflow(server.acme);
  const { token: value } = await server.acme.tokens.createStreamToken({ workflowIds: [root] });
  const [header = "", body = "", signature = ""] = value.split(".");
  const claims = Buffer.from(body, "base64url").toString();
  expect(claims).toContain(root);
  const forged = Buffer.from(claims.replaceAll(root, other)).toString("base64url");
  const none = Buffer.from('{"alg":"none"}').toString("base64url");
  for (const changed of [
    `${header}.${forged}.${signature}`,
    `${none}.${body}.`,
    `${none}.${forged}.${signature}`,
    `${header}.${body}.`,
    `${header}.${body}`,
    `${header}.${body}.${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`,
  ]) {
    const { streams } = server.clients(changed);
    for (const workflowId of [root, other, uuidv7()]) {
      expect(await codeOf(streams.readEvents({ workflowId })), changed).toBe("Unauthenticated");
    }
  }
  expect(await codeOf(server.clients(value).streams.readEvents({ workflowId: root }))).toBe("OK");
});

test("a token outlives a restart of the server", async () => {
  const workflowId = await newWorkflow(server.acme);
  const { token: value } = await server.acme.tokens.createStreamToken({ workflowIds: [workflowId] });
  await server.restart();
  expect(await codeOf(server.clients(value).streams.readEvents({ workflowId }))).toBe("OK");
});
