/** WatchWorkflows and StreamSystemEvents, from the words of workflow_service.proto and admin_service.proto alone. */
import { createClient } from "@connectrpc/connect";
import { afterEach, describe, expect, test } from "vitest";
import {
  AdminService,
  Role,
  type SystemEvent,
  SystemEventType,
} from "../../gen/tributary/v1/admin_service_pb.ts";
import { ClosingReason, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { type Workflow, WorkflowService } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { transportsOf } from "../api/transports.ts";
import { createWorkflow, newFamily, newWorkflow, publish, repeat, token } from "../api/trees.ts";
import { type Clients, createTenant, useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { setVariable } from "../support/variable-call.ts";
import { keyOf, refused } from "./world.ts";

const server = useServer();
let tenants = 0;
const newTenant = () => createTenant(server.admin, `tenant${++tenants}`);
const aborts: AbortController[] = [];
afterEach(() => {
  for (const abort of aborts.splice(0)) abort.abort();
});

interface Registry {
  readonly cases: string[];
  readonly batches: Workflow[][];
  /** Newest state of each, without what was deleted. */
  readonly state: Map<string, Workflow>;
  readonly deleted: string[];
  /** Ids that a batch named as there and as deleted. */
  readonly both: string[];
  closing?: ClosingReason;
  readonly finished: Promise<void>;
}

function watchRegistry({ workflows }: Pick<Clients, "workflows">, request = {}): Registry {
  const abort = new AbortController();
  aborts.push(abort);
  const read = async (): Promise<void> => {
    try {
      for await (const { message } of workflows.watchWorkflows(request, { signal: abort.signal })) {
        registry.cases.push(message.case ?? "nothing");
        if (message.case === "closing") registry.closing = message.value.reason;
        if (message.case !== "workflows") continue;
        registry.batches.push(message.value.workflows);
        for (const workflow of message.value.workflows) registry.state.set(workflow.workflowId, workflow);
        for (const id of message.value.deletedWorkflowIds) {
          if (message.value.workflows.some(({ workflowId }) => workflowId === id)) registry.both.push(id);
          registry.deleted.push(id);
          registry.state.delete(id);
        }
      }
    } catch (error) {
      if (!abort.signal.aborted) throw error;
    }
  };
  const registry: Registry = {
    cases: [],
    batches: [],
    state: new Map(),
    deleted: [],
    both: [],
    finished: Promise.resolve().then(read),
  };
  registry.finished.catch(() => {});
  return registry;
}

const complete = (registry: Registry) =>
  expect.poll(() => registry.cases, { timeout: 5000 }).toContain("snapshotComplete");
const close = ({ workflows }: Clients, workflowId: string, closeDescendants = false) =>
  workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED, closeDescendants });

describe("WatchWorkflows", () => {
  test("an empty registry: the snapshot is complete at once", async () => {
    const registry = watchRegistry(await newTenant());
    await complete(registry);
    expect(registry.cases).toEqual(["snapshotComplete"]);
  });

  test("the snapshot: newest first, as GetWorkflow says, then snapshot_complete, then changes", async () => {
    const tenant = await newTenant();
    const { root, child } = await newFamily(tenant);
    await tenant.workflows.requestCancel({ workflowId: child, reason: "r" });
    const other = await createWorkflow(tenant, { name: "漢 😀", metadata: { k: "v" } });
    const registry = watchRegistry(tenant);
    await complete(registry);
    const snapshot = registry.batches.flat();
    expect(snapshot).toHaveLength(5);
    expect(snapshot[0]).toEqual(other);
    const times = snapshot.map(({ createdMs }) => Number(createdMs));
    expect(times).toEqual(times.toSorted((a, b) => b - a));
    for (const workflow of snapshot)
      expect((await tenant.workflows.getWorkflow({ workflowId: workflow.workflowId })).workflow).toEqual(
        workflow,
      );
    const list = await tenant.workflows.listWorkflows({});
    expect(snapshot).toEqual(list.workflows);
    await close(tenant, root, true);
    await expect.poll(() => registry.state.get(root)?.status).toBe(WorkflowStatus.COMPLETED);
    await expect.poll(() => registry.state.get(child)?.status).toBe(WorkflowStatus.CANCELLED);
    expect(registry.cases.lastIndexOf("snapshotComplete")).toBe(registry.cases.indexOf("snapshotComplete"));
  });

  test("every change reaches it: created, closed, asked to cancel, counts of ancestors, deleted", async () => {
    const tenant = await newTenant();
    const registry = watchRegistry(tenant);
    await complete(registry);
    const root = await newWorkflow(tenant);
    await expect.poll(() => registry.state.get(root)?.openInSubtree).toBe(1);
    const child = await newWorkflow(tenant, root);
    await expect.poll(() => registry.state.get(child)?.parentWorkflowId).toBe(root);
    await expect.poll(() => registry.state.get(root)?.openInSubtree).toBe(2);
    await tenant.workflows.requestCancel({ workflowId: child });
    await expect.poll(() => Number(registry.state.get(child)?.cancelRequestedMs)).toBeGreaterThan(0);
    await close(tenant, child);
    await expect.poll(() => registry.state.get(child)?.status).toBe(WorkflowStatus.COMPLETED);
    await expect.poll(() => registry.state.get(root)?.openInSubtree).toBe(1);
    await close(tenant, root);
    await expect.poll(() => Number(registry.state.get(root)?.closedMs)).toBeGreaterThan(0);
    await tenant.workflows.deleteWorkflowTree({ workflowId: root });
    await expect.poll(() => registry.deleted.toSorted()).toEqual([root, child].toSorted());
    expect(registry.state.size).toBe(0);
  });

  test("many changes at once: the end state is that of ListWorkflows", async () => {
    const tenant = await newTenant();
    const registries = repeat(10, () => watchRegistry(tenant));
    const roots = await Promise.all(repeat(60, () => newWorkflow(tenant)));
    const late = watchRegistry(tenant, { snapshotSize: 1000 });
    await Promise.all(
      roots.map(async (root, i) => {
        await newWorkflow(tenant, root);
        if (i % 2 === 0) await close(tenant, root, true);
        if (i % 4 === 0) await tenant.workflows.deleteWorkflowTree({ workflowId: root });
      }),
    );
    const { workflows } = await tenant.workflows.listWorkflows({ pageSize: 1000 });
    expect(workflows).toHaveLength(90);
    const byId = (all: Iterable<Workflow>) => new Map([...all].map((one) => [one.workflowId, one]));
    for (const registry of [...registries, late])
      await expect.poll(() => byId(registry.state.values()), { timeout: 10_000 }).toEqual(byId(workflows));
  });

  test("snapshot_size: the newest ones; 0 means 100; 1001 is INVALID_ARGUMENT at snapshot_size", async () => {
    const tenant = await newTenant();
    const ids: string[] = [];
    for (let i = 0; i < 105; i++) ids.unshift(await newWorkflow(tenant));
    for (const [snapshotSize, count] of [
      [1, 1],
      [3, 3],
      [0, 100],
      [1000, 105],
    ] as const) {
      const registry = watchRegistry(tenant, { snapshotSize });
      await complete(registry);
      expect(registry.batches.flat().map(({ workflowId }) => workflowId)).toEqual(ids.slice(0, count));
    }
    await refused(
      tenant.workflows.watchWorkflows({ snapshotSize: 1001 }),
      "InvalidArgument",
      "snapshot_size",
    );
    const small = watchRegistry(tenant, { snapshotSize: 1 });
    await complete(small);
    await close(tenant, ids[50] ?? "");
    await expect.poll(() => small.state.get(ids[50] ?? "")?.status).toBe(WorkflowStatus.COMPLETED);
  });

  test("roots_only: no descendant, neither in the snapshot nor later", async () => {
    const tenant = await newTenant();
    const { root } = await newFamily(tenant);
    const registry = watchRegistry(tenant, { rootsOnly: true });
    await complete(registry);
    expect([...registry.state.keys()]).toEqual([root]);
    const child = await newWorkflow(tenant, root);
    await expect.poll(() => registry.state.get(root)?.openInSubtree).toBe(5);
    await close(tenant, child);
    await close(tenant, root, true);
    const next = await newWorkflow(tenant);
    await expect.poll(() => [...registry.state.keys()].toSorted()).toEqual([root, next].toSorted());
    await tenant.workflows.deleteWorkflowTree({ workflowId: root });
    await expect.poll(() => registry.deleted).toContain(root);
  });

  test("roots_only names no descendant as deleted", async () => {
    const tenant = await newTenant();
    const { root } = await newFamily(tenant);
    const registry = watchRegistry(tenant, { rootsOnly: true });
    await complete(registry);
    await close(tenant, root, true);
    await tenant.workflows.deleteWorkflowTree({ workflowId: root });
    await expect.poll(() => registry.deleted).toEqual([root]);
  });

  test("roots_only: the size counts roots", async () => {
    const tenant = await newTenant();
    const roots: string[] = [];
    for (let i = 0; i < 3; i++) {
      const root = await newWorkflow(tenant);
      roots.unshift(root);
      for (let j = 0; j < 4; j++) await newWorkflow(tenant, root);
    }
    const registry = watchRegistry(tenant, { rootsOnly: true, snapshotSize: 3 });
    await complete(registry);
    expect(registry.batches.flat().map(({ workflowId }) => workflowId)).toEqual(roots);
  });

  test("an id that is deleted and made again is there in the end, and never in both lists of a batch", async () => {
    const tenant = await newTenant();
    const registries = repeat(3, () => watchRegistry(tenant));
    for (const registry of registries) await complete(registry);
    const workflowId = await newWorkflow(tenant);
    for (let i = 0; i < 15; i++) {
      await close(tenant, workflowId);
      await tenant.workflows.deleteWorkflowTree({ workflowId });
      await tenant.workflows.createWorkflow({ workflowId, name: `again ${i}` });
    }
    const last = await newWorkflow(tenant);
    for (const registry of registries) {
      await expect.poll(() => registry.state.has(last)).toBe(true);
      await expect.poll(() => registry.state.get(workflowId)?.name).toBe("again 14");
      expect(registry.both).toEqual([]);
    }
  });

  test("a reader that does not read gets the newest state in the end and slows nobody", async () => {
    const tenant = await newTenant();
    const abort = new AbortController();
    aborts.push(abort);
    const slow = tenant.workflows.watchWorkflows({}, { signal: abort.signal })[Symbol.asyncIterator]();
    await slow.next();
    const metadata = { a: "x".repeat(15_000) };
    const ids: string[] = [];
    for (let i = 0; i < 10; i++)
      ids.push(
        ...(await Promise.all(repeat(40, () => createWorkflow(tenant, { metadata })))).map(
          (one) => one.workflowId,
        ),
      );
    await Promise.all(ids.map((id) => close(tenant, id)));
    const state = new Map<string, WorkflowStatus>();
    while ([...state.values()].filter((status) => status === WorkflowStatus.COMPLETED).length < 400) {
      const { done, value } = await slow.next();
      if (done) throw new Error("it ended");
      if (value.message.case !== "workflows") continue;
      for (const workflow of value.message.value.workflows) state.set(workflow.workflowId, workflow.status);
    }
    expect(state.size).toBe(400);
  });

  test("another tenant's workflows are not seen", async () => {
    const [one, two] = [await newTenant(), await newTenant()];
    const foreign = await newWorkflow(two);
    const registry = watchRegistry(one);
    await complete(registry);
    await close(two, foreign);
    await two.workflows.deleteWorkflowTree({ workflowId: foreign });
    await newWorkflow(two);
    const own = await newWorkflow(one);
    await expect.poll(() => [...registry.state.keys()]).toEqual([own]);
    expect(registry.deleted).toEqual([]);
  });

  test("events and variables are no changes of the registry", async () => {
    const tenant = await newTenant();
    const workflowId = await newWorkflow(tenant);
    const registry = watchRegistry(tenant);
    await complete(registry);
    const count = registry.batches.length;
    await publish(tenant, [token(workflowId, "x")]);
    await setVariable(tenant, workflowId, "a", 1);
    const next = await newWorkflow(tenant);
    await expect.poll(() => registry.state.has(next)).toBe(true);
    expect(
      registry.batches
        .slice(count)
        .flat()
        .map((one) => one.workflowId),
    ).toEqual([next]);
  });

  test("READ is needed and enough; the admin key and nobody are refused", async () => {
    const reader = await keyOf(server, [Role.READ]);
    await complete(watchRegistry(reader));
    for (const role of [Role.PUBLISH, Role.MANAGE])
      await refused((await keyOf(server, [role])).workflows.watchWorkflows({}), "PermissionDenied");
    await refused(server.admin.workflows.watchWorkflows({}), "PermissionDenied");
    await refused(server.clients("nonsense").workflows.watchWorkflows({}), "Unauthenticated");
  });

  test("the same over every protocol", async () => {
    const tenant = await newTenant();
    await newFamily(tenant);
    const { workflows } = await tenant.workflows.listWorkflows({});
    const watches = transportsOf(server.url, tenant.key).map(([, transport]) =>
      watchRegistry({ workflows: createClient(WorkflowService, transport) }),
    );
    for (const registry of watches) {
      await complete(registry);
      expect(registry.batches.flat()).toEqual(workflows);
    }
    const next = await newWorkflow(tenant);
    for (const registry of watches) await expect.poll(() => registry.state.has(next)).toBe(true);
  });

  test("a snapshot of a thousand workflows with 15 KB of metadata comes in messages below 3 MiB", async () => {
    const tenant = await newTenant();
    const metadata = { a: "x".repeat(15_000) };
    for (let i = 0; i < 10; i++) await Promise.all(repeat(40, () => createWorkflow(tenant, { metadata })));
    const registry = watchRegistry(tenant, { snapshotSize: 1000 });
    await complete(registry);
    expect(registry.state.size).toBe(400);
    for (const batch of registry.batches) expect(batch.length * 15_000).toBeLessThan(1.1 * 1024 * 1024);
  });

  test("a revoked key, a disabled tenant: Closing REVOKED within 60 seconds; silence before it is filled with heartbeats", async () => {
    const tenant = await newTenant();
    const { key, apiKeyId } = await server.admin.admin.createApiKey({
      tenantSlug: `tenant${tenants}`,
      roles: [Role.READ, Role.MANAGE],
    });
    const clients = server.clients(key);
    const registry = watchRegistry(clients);
    const system = listen(clients);
    await complete(registry);
    await expect.poll(() => registry.cases, { timeout: 35_000 }).toContain("heartbeat");
    await server.admin.admin.revokeApiKey({ apiKeyId });
    const other = await newTenant();
    const disabled = watchRegistry(other);
    await complete(disabled);
    await server.admin.admin.updateTenant({ slug: `tenant${tenants}`, disabled: true });
    await expect
      .poll(() => [registry.closing, system.closing], { timeout: 61_000 })
      .toEqual([ClosingReason.REVOKED, ClosingReason.REVOKED]);
    await registry.finished;
    await system.finished;
    await expect.poll(() => disabled.closing, { timeout: 61_000 }).toBe(ClosingReason.REVOKED);
    await disabled.finished;
    expect(registry.cases.at(-1)).toBe("closing");
    expect(tenant.key).not.toBe(key);
  }, 170_000);
});

interface Listening {
  readonly cases: string[];
  readonly events: SystemEvent[];
  closing?: ClosingReason;
  readonly finished: Promise<void>;
}

function listen({ admin }: Pick<Clients, "admin">, request = {}): Listening {
  const abort = new AbortController();
  aborts.push(abort);
  const read = async (): Promise<void> => {
    try {
      for await (const { message } of admin.streamSystemEvents(request, { signal: abort.signal })) {
        listening.cases.push(message.case ?? "nothing");
        if (message.case === "event") listening.events.push(message.value);
        if (message.case === "closing") listening.closing = message.value.reason;
      }
    } catch (error) {
      if (!abort.signal.aborted) throw error;
    }
  };
  const listening: Listening = { cases: [], events: [], finished: Promise.resolve().then(read) };
  listening.finished.catch(() => {});
  return listening;
}

describe("StreamSystemEvents", () => {
  const { SESSION_ATTACHED, SESSION_DETACHED, SESSION_CLOSED } = SystemEventType;

  /** A session that is opened, lost, resumed and closed; answers with its id. */
  async function aSession(clients: Clients): Promise<string> {
    const workflowId = await newWorkflow(clients);
    const first = await openSession(clients, workflowId);
    const { sessionId } = await first.opened();
    first.halfClose();
    await first.ended;
    const second = await openSession(clients, workflowId, { sessionId });
    second.say("close", { drain: true });
    await second.ended;
    return sessionId;
  }

  /** A call says nothing when it is live; so a session is made until all hear one. */
  async function live(clients: Clients, ...all: Listening[]): Promise<void> {
    await expect
      .poll(
        async () => {
          await aSession(clients);
          return all.every(({ events }) => events.length > 0);
        },
        { timeout: 10_000 },
      )
      .toBe(true);
  }

  const of = (listening: Listening, sessionId: string) =>
    listening.events.filter((event) =>
      JSON.stringify(event, (_, v) => (typeof v === "bigint" ? `${v}` : v)).includes(sessionId),
    );

  test("a session attached, detached, attached and closed, in order, with instance, component, message and time", async () => {
    const tenant = await newTenant();
    const [managed, admin] = [listen(tenant), listen(server.admin)];
    await live(tenant, managed, admin);
    const sessionId = await aSession(tenant);
    const instanceId = managed.events[0]?.instanceId;
    expect(instanceId).toMatch(/./);
    for (const listening of [managed, admin]) {
      await expect
        .poll(() => of(listening, sessionId).map(({ type }) => type))
        .toEqual([SESSION_ATTACHED, SESSION_DETACHED, SESSION_ATTACHED, SESSION_CLOSED]);
      for (const event of of(listening, sessionId)) {
        expect(event.instanceId).toBe(instanceId);
        expect(event.component).not.toBe("");
        expect(event.message).not.toBe("");
        expect(Math.abs(Number(event.timestampMs) - Date.now())).toBeLessThan(60_000);
      }
    }
  });

  test("a tenant key sees its tenant alone; the admin key all, or the tenant it asks for", async () => {
    const [one, two] = [await newTenant(), await newTenant()];
    const [slugOne, slugTwo] = [`tenant${tenants - 1}`, `tenant${tenants}`];
    const ofOne = listen(one);
    const named = listen(one, { tenantSlug: slugOne });
    const ofTwo = listen(two);
    const all = listen(server.admin);
    const filtered = listen(server.admin, { tenantSlug: slugTwo });
    await live(one, ofOne, named, all);
    await live(two, ofTwo, filtered);
    const sessions = [await aSession(one), await aSession(two)] as const;
    for (const [listening, seen] of [
      [ofOne, [4, 0]],
      [named, [4, 0]],
      [ofTwo, [0, 4]],
      [all, [4, 4]],
      [filtered, [0, 4]],
    ] as const)
      await expect.poll(() => sessions.map((id) => of(listening, id).length)).toEqual(seen);
  });

  test("another tenant's slug is PERMISSION_DENIED", async () => {
    const tenant = await newTenant();
    await refused(tenant.admin.streamSystemEvents({ tenantSlug: "globex" }), "PermissionDenied");
    await refused(tenant.admin.streamSystemEvents({ tenantSlug: "no-such-tenant" }), "PermissionDenied");
  });

  test("only MANAGE and the admin key", async () => {
    for (const roles of [[Role.READ], [Role.PUBLISH], [Role.READ, Role.PUBLISH]])
      await refused((await keyOf(server, roles)).admin.streamSystemEvents({}), "PermissionDenied");
    await refused(server.clients("nonsense").admin.streamSystemEvents({}), "Unauthenticated");
    const manager = await keyOf(server, [Role.MANAGE]);
    const listening = listen(manager);
    await live(server.acme, listening);
  });

  test("types choose", async () => {
    const tenant = await newTenant();
    const closed = listen(tenant, { types: [SESSION_CLOSED] });
    const two = listen(tenant, { types: [SESSION_DETACHED, SESSION_ATTACHED, SESSION_ATTACHED] });
    await live(tenant, closed, two);
    const sessionId = await aSession(tenant);
    await expect.poll(() => of(closed, sessionId).map(({ type }) => type)).toEqual([SESSION_CLOSED]);
    await expect
      .poll(() => of(two, sessionId).map(({ type }) => type))
      .toEqual([SESSION_ATTACHED, SESSION_DETACHED, SESSION_ATTACHED]);
    expect(new Set(closed.events.map(({ type }) => type))).toEqual(new Set([SESSION_CLOSED]));
  });

  test.each([
    [{ types: [0] }, "types[0]"],
    [{ types: [1, 99] }, "types[1]"],
    [{ tenantSlug: "A" }, "tenant_slug"],
    [{ tenantSlug: "ab" }, "tenant_slug"],
    [{ tenantSlug: "a".repeat(64) }, "tenant_slug"],
  ] as [object, string][])("%j is INVALID_ARGUMENT at %s", async (request, field) => {
    await refused(server.admin.admin.streamSystemEvents(request), "InvalidArgument", field);
  });

  test("an unknown tenant is NOT_FOUND for the admin key", async () => {
    await refused(server.admin.admin.streamSystemEvents({ tenantSlug: "no-such-tenant" }), "NotFound");
  });

  test("over every protocol", async () => {
    const tenant = await newTenant();
    const all = transportsOf(server.url, tenant.key).map(([, transport]) =>
      listen({ admin: createClient(AdminService, transport) }),
    );
    await live(tenant, ...all);
    const sessionId = await aSession(tenant);
    for (const listening of all)
      await expect
        .poll(() => of(listening, sessionId).map(({ type }) => type))
        .toEqual([SESSION_ATTACHED, SESSION_DETACHED, SESSION_ATTACHED, SESSION_CLOSED]);
  });
});
