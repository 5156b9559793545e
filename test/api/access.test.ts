import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { v7 as uuidv7 } from "uuid";
import { beforeAll, describe, expect, test } from "vitest";
import { Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { ClosingReason, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { type Clients, createTenant, useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { codeOf } from "./codes.ts";
import { call, everyRpc, type Rpc, requestFor, type Subjects } from "./every-rpc.ts";
import { sse } from "./sse-client.ts";
import { follow } from "./subscription.ts";
import { newWorkflow } from "./trees.ts";

const server = useServer();
const rpcs = await everyRpc();
const routes = ["", "/consolidated", "/tasks/t"];

/** Who may call what: the roles of §4 and admin_service.proto, each of which alone is enough; "admin": its key alone. */
const rules: Record<string, Role[] | "admin" | "open"> = {
  "AdminService.CreateTenant": "admin",
  "AdminService.UpdateTenant": "admin",
  "AdminService.ListTenants": "admin",
  "AdminService.CreateApiKey": [Role.MANAGE],
  "AdminService.ListApiKeys": [Role.MANAGE],
  "AdminService.RevokeApiKey": [Role.MANAGE],
  "AdminService.RotateSigningKey": "admin",
  "AdminService.ListSessions": [Role.MANAGE],
  "AdminService.CloseSession": [Role.MANAGE],
  "AdminService.GetStats": [Role.MANAGE],
  "AdminService.StreamSystemEvents": [Role.MANAGE],
  "EventStreamService.StreamWorkflow": [Role.READ],
  "EventStreamService.StreamWorkflowConsolidated": [Role.READ],
  "EventStreamService.StreamTask": [Role.READ],
  "EventStreamService.StreamMany": [Role.READ],
  "EventStreamService.Multiplex": [Role.READ],
  "EventStreamService.ReadEvents": [Role.READ],
  "MemoryService.ObserveStream": [Role.PUBLISH],
  "MemoryService.RecallStream": [Role.READ],
  "MemoryService.MemoryFlow": [Role.READ, Role.PUBLISH],
  "MemoryService.CreateMemorySpace": [Role.PUBLISH, Role.MANAGE],
  "MemoryService.UpdateMemorySpace": [Role.PUBLISH, Role.MANAGE],
  "MemoryService.ListMemorySpaces": [Role.READ],
  "MemoryService.GetObservation": [Role.READ],
  "TaskStreamService.StreamTaskData": [Role.PUBLISH],
  "TaskStreamService.PublishTaskEvents": [Role.PUBLISH],
  "TaskStreamService.PublishTaskStream": [Role.PUBLISH],
  // Which roles a tenant key needs is not said.
  "TokenService.CreateStreamToken": "open",
  "VariableService.SetVariable": [Role.PUBLISH],
  "VariableService.SetVariables": [Role.PUBLISH],
  "VariableService.GetVariable": [Role.READ],
  "VariableService.ListVariables": [Role.READ],
  "VariableService.DeleteVariable": [Role.PUBLISH],
  "VariableService.WatchVariables": [Role.READ],
  "WorkflowService.CreateWorkflow": [Role.PUBLISH],
  "WorkflowService.GetWorkflow": [Role.READ],
  "WorkflowService.ListWorkflows": [Role.READ],
  "WorkflowService.GetWorkflowTree": [Role.READ],
  "WorkflowService.CloseWorkflow": [Role.PUBLISH],
  "WorkflowService.RequestCancel": [Role.PUBLISH],
  "WorkflowService.DeleteWorkflowTree": [Role.MANAGE],
  "WorkflowService.WatchWorkflows": [Role.READ],
};
const ofOneTenant = rpcs.filter(({ name }) => rules[name] !== "admin");

let mine: Subjects;
let theirs: Subjects;

beforeAll(async () => {
  const subjects = async (clients: Clients, tenantSlug: string): Promise<Subjects> => ({
    workflowId: await newWorkflow(clients),
    tenantSlug,
    // Not the key that the tests use: the matrix may revoke it.
    apiKeyId: (await clients.admin.createApiKey({ tenantSlug, displayName: "spare" })).apiKeyId,
  });
  mine = await subjects(server.acme, "acme");
  theirs = await subjects(server.globex, "globex");
});

function transportWith(
  authorization?: string,
  make: (options: { baseUrl: string; interceptors: Interceptor[] }) => Transport = createGrpcTransport,
): Transport {
  return make({
    baseUrl: server.url,
    interceptors: [
      (next) => (request) => {
        if (authorization !== undefined) request.header.set("authorization", authorization);
        return next(request);
      },
    ],
  });
}

/** The code of every RPC called so. */
async function codes(
  authorization: string | undefined,
  requests: (rpc: Rpc) => Record<string, unknown>,
  among: readonly Rpc[] = rpcs,
): Promise<Record<string, string>> {
  const transport = transportWith(authorization);
  const found: [string, string][] = [];
  for (const rpc of among) found.push([rpc.name, await call(transport, rpc, requests(rpc))]);
  return Object.fromEntries(found);
}

const all = (code: string, among: readonly Rpc[] = rpcs) =>
  Object.fromEntries(among.map(({ name }) => [name, code]));
const wellFormed = (rpc: Rpc) => requestFor(rpc.method, mine);
const empty = () => ({});

async function statuses(
  authorization: string | undefined,
  workflowId = mine.workflowId,
  slug = "acme",
): Promise<number[]> {
  const found: number[] = [];
  for (const rest of routes) {
    const url = `${server.url}/api/tenants/${slug}/stream/workflows/${workflowId}${rest}`;
    await using response = await sse(url, {
      headers: authorization === undefined ? {} : { authorization },
    });
    found.push(response.status);
  }
  return found;
}
const allRoutes = (status: number) => routes.map(() => status);

async function keyWith(roles: Role[], tenantSlug = "acme") {
  return server.admin.admin.createApiKey({ tenantSlug, roles });
}

test("the descriptors hold every service, and each of its RPCs has a rule here", () => {
  expect(new Set(rpcs.map(({ name }) => name.split(".")[0]))).toEqual(
    new Set([
      "AdminService",
      "EventStreamService",
      "MemoryService",
      "TaskStreamService",
      "TokenService",
      "VariableService",
      "WorkflowService",
    ]),
  );
  expect(rpcs.map(({ name }) => name).toSorted()).toEqual(Object.keys(rules).toSorted());
});

test("the requests of the matrix are well-formed: none is refused for its fields, or for its credential", async () => {
  const scratch = await createTenant(server.admin, "scratch");
  const { apiKeyId } = await scratch.admin.createApiKey({ tenantSlug: "scratch" });
  for (const rpc of ofOneTenant) {
    const subjects = { workflowId: await newWorkflow(scratch), tenantSlug: "scratch", apiKeyId };
    const code = await call(transportWith(`Bearer ${scratch.key}`), rpc, requestFor(rpc.method, subjects));
    expect(["OK", "Unimplemented", "NotFound", "FailedPrecondition"], `${rpc.name}: ${code}`).toContain(code);
  }
});

describe("UNAUTHENTICATED and 401", () => {
  const wrong: [string, () => string | undefined][] = [
    ["no credential", () => undefined],
    ["an empty one", () => ""],
    ["nonsense", () => "Bearer nonsense"],
    ["an empty bearer", () => "Bearer "],
    ["a key without a scheme", () => server.acme.key],
    ["another scheme", () => `Basic ${Buffer.from(`acme:${server.acme.key}`).toString("base64")}`],
    ["another scheme with a key", () => `Basic ${server.acme.key}`],
    ["two keys", () => `Bearer ${server.acme.key} ${server.acme.key}`],
    ["a key that lacks its last character", () => `Bearer ${server.acme.key.slice(0, -1)}`],
    ["a key with another last character", () => `Bearer ${server.acme.key.slice(0, -1)}~`],
    ["the admin key in upper case", () => `Bearer ${server.admin.key.toUpperCase()}`],
    ["a token nobody signed", () => `Bearer ${unsigned()}`],
  ];
  test.each(wrong)("for %s, on every RPC and route", async (_name, authorization) => {
    expect(await codes(authorization(), wellFormed)).toEqual(all("Unauthenticated"));
    expect(await statuses(authorization())).toEqual(allRoutes(401));
  });

  test("before a malformed request is looked at, in every protocol", async () => {
    expect(await codes(undefined, empty)).toEqual(all("Unauthenticated"));
    for (const { name, method } of rpcs) {
      const url = `${server.url}/${method.parent.typeName}/${method.name}`;
      if (method.methodKind === "unary") {
        const response = await fetch(url, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: "{}",
        });
        expect(response.status, name).toBe(401);
        expect(await response.json(), name).toMatchObject({ code: "unauthenticated" });
      }
      const overWeb = await call(
        transportWith(undefined, (options) => createGrpcWebTransport({ ...options, httpVersion: "2" })),
        { name, method },
        {},
      );
      expect(overWeb, name).toBe("Unauthenticated");
    }
  });

  test("for a revoked key, at once", async () => {
    const { apiKeyId, key } = await keyWith([Role.READ, Role.PUBLISH, Role.MANAGE]);
    expect(await statuses(`Bearer ${key}`)).toEqual(allRoutes(200));
    await server.admin.admin.revokeApiKey({ apiKeyId });
    expect(await codes(`Bearer ${key}`, wellFormed)).toEqual(all("Unauthenticated"));
    expect(await statuses(`Bearer ${key}`)).toEqual(allRoutes(401));
  });

  test("for an expired stream token", async () => {
    const { token } = await server.acme.tokens.createStreamToken({
      workflowIds: [mine.workflowId],
      ttlSeconds: 1,
    });
    await until(async () => expect(await statuses(`Bearer ${token}`)).toEqual(allRoutes(401)));
    expect(await codes(`Bearer ${token}`, wellFormed)).toEqual(all("Unauthenticated"));
  });
});

function unsigned(): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { tenant: "acme", sub: "acme", workflowIds: [mine.workflowId], exp: 4_000_000_000 };
  return `${part({ alg: "none", typ: "JWT" })}.${part(claims)}.`;
}

describe("PERMISSION_DENIED and 403", () => {
  const keys: [string, Role[]][] = [
    ["READ", [Role.READ]],
    ["PUBLISH", [Role.PUBLISH]],
    ["MANAGE", [Role.MANAGE]],
    ["READ and PUBLISH", [Role.READ, Role.PUBLISH]],
  ];
  test.each(keys)("for what a key with %s alone may not", async (_name, roles) => {
    const { key } = await keyWith(roles);
    const denied = rpcs.filter(({ name }) => {
      const rule = rules[name];
      return rule === "admin" || (Array.isArray(rule) && !rule.some((role) => roles.includes(role)));
    });
    expect(await codes(`Bearer ${key}`, wellFormed, denied)).toEqual(all("PermissionDenied", denied));
    const reads = roles.includes(Role.READ);
    expect(await statuses(`Bearer ${key}`)).toEqual(allRoutes(reads ? 200 : 403));
  });

  test("and not for what a key with one role may", async () => {
    for (const role of [Role.READ, Role.PUBLISH, Role.MANAGE]) {
      const { key } = await keyWith([role]);
      const allowed = rpcs.filter(({ name }) => {
        const rule = rules[name];
        return Array.isArray(rule) && rule.length === 1 && rule[0] === role;
      });
      for (const rpc of allowed) {
        const unknown = requestFor(rpc.method, { ...mine, workflowId: uuidv7(), apiKeyId: "unknown" });
        const code = await call(transportWith(`Bearer ${key}`), rpc, unknown);
        expect(code, `${rpc.name} with ${role}`).not.toBe("PermissionDenied");
        expect(code, `${rpc.name} with ${role}`).not.toBe("Unauthenticated");
      }
    }
  });

  test("for whatever is another tenant's", async () => {
    const naming = ofOneTenant.filter(
      ({ method }) => JSON.stringify(requestFor(method, mine)) !== JSON.stringify(requestFor(method, theirs)),
    );
    expect(naming.length).toBeGreaterThan(20);
    const found = await codes(`Bearer ${server.acme.key}`, (rpc) => requestFor(rpc.method, theirs), naming);
    expect(found).toEqual(Object.fromEntries(Object.keys(found).map((name) => [name, "PermissionDenied"])));
    expect(await statuses(`Bearer ${server.acme.key}`, theirs.workflowId)).toEqual(allRoutes(403));
    expect(await statuses(`Bearer ${server.acme.key}`, theirs.workflowId, "globex")).toEqual(allRoutes(403));
    const { workflow } = await server.globex.workflows.getWorkflow({ workflowId: theirs.workflowId });
    expect(workflow).toMatchObject({ status: WorkflowStatus.RUNNING, cancelRequestedMs: 0n });
  });

  test("for the admin key on what is a tenant's own", async () => {
    const own = rpcs.filter(({ name }) => !name.startsWith("AdminService."));
    expect(await codes(`Bearer ${server.admin.key}`, wellFormed, own)).toEqual(all("PermissionDenied", own));
    expect(await statuses(`Bearer ${server.admin.key}`)).toEqual(allRoutes(403));
  });

  test("for a stream token on all but reading its streams", async () => {
    const { token } = await server.acme.tokens.createStreamToken({ workflowIds: [mine.workflowId] });
    const reading = [
      "EventStreamService.",
      "WorkflowService.GetWorkflow",
      "VariableService.GetVariable",
      "VariableService.ListVariables",
      "VariableService.WatchVariables",
    ];
    const others = rpcs.filter(({ name }) => !reading.some((start) => name.startsWith(start)));
    expect(others.length).toBeGreaterThan(25);
    expect(await codes(`Bearer ${token}`, wellFormed, others)).toEqual(all("PermissionDenied", others));
    expect(await statuses(`Bearer ${token}`)).toEqual(allRoutes(200));
    expect(await statuses(`Bearer ${token}`, theirs.workflowId)).toEqual(allRoutes(403));
  });
});

test("liveness, readiness and metrics need no credential, with a wrong one neither; metrics name no tenant", async () => {
  for (const path of ["/healthz", "/readyz", "/metrics"]) {
    for (const headers of [{}, { authorization: "Bearer nonsense" }]) {
      const answer = await fetch(`${server.url}${path}`, { headers });
      const text = await answer.text();
      expect([path, answer.status]).toEqual([path, 200]);
      for (const secret of ["acme", "globex", mine.workflowId, theirs.workflowId, server.admin.key])
        expect(text).not.toContain(secret);
    }
    const posted = await fetch(`${server.url}${path}`, { method: "POST" });
    expect([path, posted.status, posted.headers.get("allow")]).toEqual([path, 405, "GET, HEAD"]);
  }
});

test("a key's roles are READ and PUBLISH if none are given", async () => {
  const { key } = await server.admin.admin.createApiKey({ tenantSlug: "acme" });
  const clients = server.clients(key);
  const workflowId = await newWorkflow(clients);
  await clients.streams.readEvents({ workflowId });
  expect(await codeOf(clients.admin.listApiKeys({ tenantSlug: "acme" }))).toBe("PermissionDenied");
});

test("a disabled tenant may do nothing, and all again when it is enabled", async () => {
  const clients = await createTenant(server.admin, "disabled");
  const workflowId = await newWorkflow(clients);
  const subjects: Subjects = { workflowId, tenantSlug: "disabled", apiKeyId: "unknown" };
  const { token } = await clients.tokens.createStreamToken({ workflowIds: [workflowId] });
  await server.admin.admin.updateTenant({ slug: "disabled", disabled: true });
  for (const credential of [clients.key, token]) {
    const found = await codes(`Bearer ${credential}`, (rpc) => requestFor(rpc.method, subjects));
    for (const [name, code] of Object.entries(found)) {
      expect(["Unauthenticated", "PermissionDenied"], `${name}: ${code}`).toContain(code);
    }
    for (const status of await statuses(`Bearer ${credential}`, workflowId, "disabled")) {
      expect([401, 403]).toContain(status);
    }
  }
  await server.admin.admin.updateTenant({ slug: "disabled", disabled: false });
  await newWorkflow(clients, workflowId);
});

// --- Open calls

/** Opens each kind of reading with one credential, does something, and gives how each was closed. */
async function closedBy(credential: string, slug: string, workflowId: string, act: () => Promise<unknown>) {
  const { streams } = server.clients(credential);
  await using own = follow((options) => streams.streamWorkflow({ workflowId }, options));
  await using tree = follow((options) => streams.streamWorkflowConsolidated({ workflowId }, options));
  await using task = follow((options) => streams.streamTask({ workflowId, taskExecutionId: "t" }, options));
  const url = `${server.url}/api/tenants/${slug}/stream/workflows/${workflowId}`;
  await using events = await sse(url, { headers: { authorization: `Bearer ${credential}` } });
  await Promise.all([own.open(), tree.open(), task.open()]);
  await events.until(() => expect(events.names).toContain("open"));
  await act();
  await Promise.all([own.end(60_000), tree.end(60_000), task.end(60_000), events.finished]);
  return [
    ...[own, tree, task].map((reader) => reader.closing?.reason),
    JSON.parse(events.events.at(-1)?.data ?? "{}").reason,
  ];
}
const revoked = [ClosingReason.REVOKED, ClosingReason.REVOKED, ClosingReason.REVOKED, "REVOKED"];

test.concurrent("open calls of a revoked key are closed, those of others go on", async () => {
  const { apiKeyId, key } = await keyWith([Role.READ]);
  const workflowId = await newWorkflow(server.acme);
  await using other = follow((options) => server.acme.streams.streamWorkflow({ workflowId }, options));
  await other.open();
  const act = () => server.acme.admin.revokeApiKey({ apiKeyId });
  expect(await closedBy(key, "acme", workflowId, act)).toEqual(revoked);
  expect(other.closing).toBeUndefined();
}, 90_000);

test.concurrent("open calls of a disabled tenant are closed", async () => {
  const clients = await createTenant(server.admin, "to-disable");
  const workflowId = await newWorkflow(clients);
  const act = () => server.admin.admin.updateTenant({ slug: "to-disable", disabled: true });
  expect(await closedBy(clients.key, "to-disable", workflowId, act)).toEqual(revoked);
}, 90_000);

test.concurrent("open calls of an expiring token are closed", async () => {
  const workflowId = await newWorkflow(server.acme);
  const { token } = await server.acme.tokens.createStreamToken({ workflowIds: [workflowId], ttlSeconds: 2 });
  const expired = ClosingReason.CREDENTIAL_EXPIRED;
  expect(await closedBy(token, "acme", workflowId, async () => {})).toEqual([
    expired,
    expired,
    expired,
    "CREDENTIAL_EXPIRED",
  ]);
}, 90_000);
