/** Who may do what with variables: roles, tenants, the admin key, stream tokens. */
import { describe, expect, test } from "vitest";
import { Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { codeOf } from "../api/codes.ts";
import { multiplex, streamMany } from "../api/multiplex-call.ts";
import { readToEnd } from "../api/subscription.ts";
import { newFamily, newWorkflow, publish, readAll, token } from "../api/trees.ts";
import { type Clients, useServer } from "../support/server.ts";
import { assign, setVariable, Watching } from "../support/variable-call.ts";
import { keyOf, refused, tokenOf } from "./world.ts";

const server = useServer();

async function codes({ variables }: Clients, workflowId: string): Promise<Record<string, string>> {
  return {
    get: await codeOf(variables.getVariable({ workflowId, name: "a" })),
    list: await codeOf(variables.listVariables({ workflowId })),
    watch: await watchCode(variables, workflowId),
    set: await codeOf(variables.setVariable({ workflowId, assignment: assign("b", 1) })),
    setMany: await codeOf(variables.setVariables({ workflowId, assignments: [assign("b", 1)] })),
    delete: await codeOf(variables.deleteVariable({ workflowId, name: "b" })),
  };
}

async function watchCode(variables: Clients["variables"], workflowId: string): Promise<string> {
  const abort = new AbortController();
  try {
    return await codeOf(variables.watchVariables({ workflowId }, { signal: abort.signal }));
  } finally {
    abort.abort();
  }
}

const all = (code: string, changed: Record<string, string> = {}) => ({
  get: code,
  list: code,
  watch: code,
  set: code,
  setMany: code,
  delete: code,
  ...changed,
});
const reads = { get: "OK", list: "OK", watch: "OK" };
const writes = { set: "OK", setMany: "OK", delete: "OK" };

describe("keys", () => {
  test.each([
    ["READ", [Role.READ], all("PermissionDenied", reads)],
    ["PUBLISH", [Role.PUBLISH], all("PermissionDenied", writes)],
    ["MANAGE", [Role.MANAGE], all("PermissionDenied")],
    ["READ and PUBLISH", [Role.READ, Role.PUBLISH], all("OK")],
  ] as [string, Role[], Record<string, string>][])("a key with %s", async (_, roles, expected) => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "a", 1);
    expect(await codes(await keyOf(server, roles), workflowId)).toEqual(expected);
  });

  test("a key of another tenant is denied, whatever its roles", async () => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "a", 1);
    expect(await codes(server.globex, workflowId)).toEqual(all("PermissionDenied"));
  });

  test("the admin key, which has no tenant, is denied", async () => {
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "a", 1);
    expect(await codes(server.admin, workflowId)).toEqual(all("PermissionDenied"));
  });

  test("a revoked key is UNAUTHENTICATED within 5 seconds", async () => {
    const { key, apiKeyId } = await server.admin.admin.createApiKey({ tenantSlug: "acme" });
    const workflowId = await newWorkflow(server.acme);
    await setVariable(server.acme, workflowId, "a", 1);
    const clients = server.clients(key);
    expect((await codes(clients, workflowId))["get"]).toBe("OK");
    await server.admin.admin.revokeApiKey({ apiKeyId });
    await expect.poll(() => codes(clients, workflowId), { timeout: 6000 }).toEqual(all("Unauthenticated"));
  });
});

describe("stream tokens", () => {
  test("with variables: read in the subtree, nothing above, beside or written", async () => {
    const { root, child, grandchild, sibling } = await newFamily(server.acme);
    for (const id of [root, child, grandchild, sibling]) await setVariable(server.acme, id, "a", 1);
    const guest = await tokenOf(server, [child], true);
    expect(await codes(guest, child)).toEqual(all("PermissionDenied", reads));
    expect(await codes(guest, grandchild)).toEqual(all("PermissionDenied", reads));
    expect(await codes(guest, root)).toEqual(all("PermissionDenied"));
    expect(await codes(guest, sibling)).toEqual(all("PermissionDenied"));
  });

  test("without variables: none is read, and VARIABLE_* events are left out of everything", async () => {
    const { root, child } = await newFamily(server.acme);
    await setVariable(server.acme, child, "a", 1);
    await publish(server.acme, [token(child, "x")]);
    await server.acme.variables.deleteVariable({ workflowId: child, name: "a" });
    await setVariable(server.acme, child, "a", 1);
    await server.acme.workflows.closeWorkflow({
      workflowId: root,
      status: WorkflowStatus.COMPLETED,
      closeDescendants: true,
    });
    const guest = await tokenOf(server, [root], false);
    expect(await codes(guest, child)).toEqual(all("PermissionDenied"));
    const isVariable = ({ type }: { type: EventType }) => type === 30 || type === 31;
    expect((await readAll(server.acme, root)).filter(isVariable)).toHaveLength(3);
    expect((await readAll(guest, root)).filter(isVariable)).toEqual([]);
    const followed = await readToEnd((options) =>
      guest.streams.streamWorkflowConsolidated({ workflowId: root }, options),
    );
    expect(followed.events.filter(isVariable)).toEqual([]);
    expect(followed.texts).toContain("x");
    for (const call of [
      await streamMany(guest, [{ label: "a", workflowId: child }]).end(),
      await multiplex(guest)
        .subscribe("a", { workflowId: child })
        .halfClose()
        .until(() => {}),
    ]) {
      await call.until(() => expect(call.of("a").ended).toBeDefined());
      expect(call.of("a").events.filter(isVariable)).toEqual([]);
      expect(call.of("a").texts).toContain("x");
      await call[Symbol.asyncDispose]();
    }
    const types = [EventType.VARIABLE_SET];
    expect(await readAll(guest, root, { consolidated: true, types })).toEqual([]);
    const asked = await streamMany(guest, [{ label: "a", workflowId: child, options: { types } }]).end();
    expect(asked.of("a").events).toEqual([]);
  });

  test("a token of one tree denies the labels of others alone", async () => {
    const { root, child, sibling } = await newFamily(server.acme);
    const other = await newWorkflow(server.globex);
    const guest = await tokenOf(server, [child], true);
    const targets = { child, sibling, root, other };
    await using call = streamMany(
      guest,
      Object.entries(targets).map(([label, workflowId]) => ({ label, workflowId })),
    );
    await call.until(() => {
      expect(call.of("child").opened).toBeDefined();
      for (const label of ["sibling", "root", "other"])
        expect(call.of(label).error?.code).toBe("permission_denied");
    });
    await using live = multiplex(guest);
    for (const [label, workflowId] of Object.entries(targets)) live.subscribe(label, { workflowId });
    await live.until(() => {
      expect(live.of("child").opened).toBeDefined();
      for (const label of ["sibling", "root", "other"])
        expect(live.of(label).error?.code).toBe("permission_denied");
    });
  });

  test("a child that starts later is open to the token of its parent", async () => {
    const root = await newWorkflow(server.acme);
    const guest = await tokenOf(server, [root], true);
    const child = await newWorkflow(server.acme, root);
    await setVariable(server.acme, child, "a", 1);
    expect(await codes(guest, child)).toEqual(all("PermissionDenied", reads));
  });

  test("no registry and no system events", async () => {
    const root = await newWorkflow(server.acme);
    const guest = await tokenOf(server, [root], true);
    await refused(guest.workflows.watchWorkflows({}), "PermissionDenied");
    await refused(guest.admin.streamSystemEvents({}), "PermissionDenied");
  });
});

describe("streams of keys without READ", () => {
  test("PUBLISH and MANAGE alone neither follow nor watch", async () => {
    const workflowId = await newWorkflow(server.acme);
    for (const role of [Role.PUBLISH, Role.MANAGE]) {
      const clients = await keyOf(server, [role]);
      await refused(
        clients.streams.streamMany({ targets: [{ label: "a", workflowId }] }),
        "PermissionDenied",
      );
      await using call = multiplex(clients).subscribe("a", { workflowId });
      await refused(call.finished, "PermissionDenied");
      await refused(clients.workflows.watchWorkflows({}), "PermissionDenied");
      await using watch = new Watching(clients, { workflowId });
      await refused(watch.finished, "PermissionDenied");
    }
  });
});
