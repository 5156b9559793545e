/**
 * DeleteWorkflowTree among two instances that tell each other nothing: what one remembers of a tree that the other deleted
 * is NOT_FOUND and does no harm, also when somebody made it anew; and whatever happens at once, nothing is left.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { deleteParts, hideEntries } from "../../db/statements/delete-tree.ts";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { VariableType } from "../../gen/tributary/v1/variable_service_pb.ts";
import { readConfig } from "../../server/config.ts";
import { type RunningServer, startServer } from "../../server/main.ts";
import { adminKey, type Clients, createClients, useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { until } from "../support/until.ts";
import { setVariable } from "../support/variable-call.ts";
import { codeOf } from "./codes.ts";
import { multiplex } from "./multiplex-call.ts";
import { follow } from "./subscription.ts";
import { createWorkflow, newFamily, newWorkflow, publish, repeat, token } from "./trees.ts";

const server = useServer();
let other: RunningServer;
/** Clients of the other instance. */
let there: Clients;
let globexThere: Clients;
beforeAll(async () => {
  const settings = { PORT: "0", TRIBUTARY_ADMIN_KEY: adminKey, LOG_LEVEL: "error", POOL_SIZE: "5" };
  other = await startServer(readConfig({ DATABASE_URL: server.database.url, ...settings }));
  there = createClients(other.url, server.acme.key);
  globexThere = createClients(other.url, server.globex.key);
});
afterAll(async () => {
  await until(() => expect(other.gauges()).toEqual({ openCalls: 0, liveStreams: 0, waitingCommands: 0 }));
  await other.close();
});

const close = ({ workflows }: Clients, workflowId: string) =>
  workflows.closeWorkflow({ workflowId, status: 2, closeDescendants: true });

/** Rows that name the stream, by table; of tables that do not, those of its workflows. */
async function left(streamId: string, ids: readonly string[]): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const table of [
    "event",
    "producer",
    "session",
    "workflow",
    "stream",
    "stream_floor",
    "closed_tree",
    "retention_due",
  ]) {
    const { rows } = await server.pool.query(`select count(*)::int as n from ${table} where stream_id = $1`, [
      streamId,
    ]);
    if (rows[0].n > 0) found[table] = rows[0].n;
  }
  for (const table of ["task", "variable"]) {
    const { rows } = await server.pool.query(
      `select count(*)::int as n from ${table} where workflow_id = any ($1)`,
      [ids],
    );
    if (rows[0].n > 0) found[table] = rows[0].n;
  }
  return found;
}

const streamOf = async (workflowId: string): Promise<string> =>
  (await server.pool.query("select stream_id from workflow where workflow_id = $1", [workflowId])).rows[0]
    .stream_id;

/** A closed tree with something in every table. */
async function fullTree(clients: Clients, events = 10) {
  const family = await newFamily(clients);
  const { root, child } = family;
  await publish(
    clients,
    repeat(events, (i) => ({ ...token(child, `${i}`), sequence: BigInt(i + 1) })),
    { producerId: "p" },
  );
  await publish(clients, [
    {
      workflowId: child,
      taskExecutionId: "t",
      type: EventType.COMPLETED,
      payload: { case: "text", value: "" },
    },
  ]);
  await setVariable(clients, child, "v", 1);
  const session = await openSession(clients, root);
  session.say("close", { drain: true });
  await session.closed();
  return { ...family, streamId: await streamOf(root), ids: Object.values(family) };
}

const callsOf = (clients: Clients, workflowId: string, signal: AbortSignal) => ({
  GetWorkflow: () => clients.workflows.getWorkflow({ workflowId }),
  CreateWorkflow: () => clients.workflows.createWorkflow({ name: "child", parentWorkflowId: workflowId }),
  CloseWorkflow: () => close(clients, workflowId),
  RequestCancel: () => clients.workflows.requestCancel({ workflowId }),
  GetWorkflowTree: () => clients.workflows.getWorkflowTree({ workflowId }),
  DeleteWorkflowTree: () => clients.workflows.deleteWorkflowTree({ workflowId }),
  PublishTaskEvents: () => publish(clients, [token(workflowId, "late")]),
  ReadEvents: () => clients.streams.readEvents({ workflowId }),
  StreamWorkflow: () => clients.streams.streamWorkflow({ workflowId }, { signal }),
  SetVariable: () => setVariable(clients, workflowId, "v", 2),
  GetVariable: () => clients.variables.getVariable({ workflowId, name: "v" }),
  ListVariables: () => clients.variables.listVariables({ workflowId }),
  DeleteVariable: () => clients.variables.deleteVariable({ workflowId, name: "v" }),
  WatchVariables: () => clients.variables.watchVariables({ workflowId }, { signal }),
});
type Call = keyof ReturnType<typeof callsOf>;
const calls: readonly Call[] = [
  "GetWorkflow",
  "CreateWorkflow",
  "CloseWorkflow",
  "RequestCancel",
  "GetWorkflowTree",
  "DeleteWorkflowTree",
  "PublishTaskEvents",
  "ReadEvents",
  "StreamWorkflow",
  "SetVariable",
  "GetVariable",
  "ListVariables",
  "DeleteVariable",
  "WatchVariables",
];

async function one(clients: Clients, call: Call, workflowId: string): Promise<string> {
  const abort = new AbortController();
  const code = await codeOf(callsOf(clients, workflowId, abort.signal)[call]());
  abort.abort();
  return code;
}

/** What an instance remembers: that the workflow is there, and its variable's rules. */
async function remember(clients: Clients, workflowId: string): Promise<void> {
  await clients.streams.readEvents({ workflowId, limit: 1 });
  await clients.variables.listVariables({ workflowId });
}

test.each(calls)("of a tree that another instance deleted %s knows nothing", async (call) => {
  const { root, streamId, ids } = await fullTree(server.acme);
  await close(server.acme, root);
  await remember(there, root);
  await server.acme.workflows.deleteWorkflowTree({ workflowId: root });
  expect(await one(there, call, root)).toBe("NotFound");
  expect(await left(streamId, ids)).toEqual({});
});

test.each(calls)(
  "made anew by another tenant it is theirs alone, whatever is remembered: %s",
  async (call) => {
    const { root } = await fullTree(server.acme);
    await close(server.acme, root);
    await remember(there, root);
    await server.acme.workflows.deleteWorkflowTree({ workflowId: root });
    await createWorkflow(server.globex, { workflowId: root, name: "theirs" });
    await setVariable(server.globex, root, "v", "a text now");
    const before = await server.globex.streams.readEvents({ workflowId: root });
    expect(["NotFound", "PermissionDenied"]).toContain(await one(there, call, root));
    expect(await server.globex.streams.readEvents({ workflowId: root })).toEqual(before);
    if (call !== "DeleteWorkflowTree") expect(await one(globexThere, call, root)).toBe("OK");
  },
);

test("rules of variables are not remembered from one tree to another", async () => {
  const { root } = await fullTree(server.acme);
  await setVariable(there, root, "x", 1, { type: VariableType.INTEGER });
  await close(server.acme, root);
  await server.acme.workflows.deleteWorkflowTree({ workflowId: root });
  await createWorkflow(server.acme, { workflowId: root });
  await setVariable(server.acme, root, "x", "text", { type: VariableType.STRING });
  // It finds out that the tree is another one.
  await until(async () => expect(await codeOf(there.streams.readEvents({ workflowId: root }))).toBe("OK"));
  expect(await codeOf(setVariable(there, root, "x", 2))).toBe("InvalidArgument");
});

test("a reader that does not keep up is told on whatever instance, never ended in silence", async () => {
  const { root, child } = await fullTree(server.acme, 3000);
  // Without credit it stays where it is.
  await using held = multiplex(there);
  held.subscribe("held", { workflowId: child, initialGrant: 0 });
  await held.until(() => expect(held.of("held").opened).toBeDefined());
  await close(server.acme, root);
  await server.acme.workflows.deleteWorkflowTree({ workflowId: root });
  await held.until(() => expect(held.of("held").error?.message).toMatch(/deleted/));
});

test("several deletions at once, on two instances, among publishers and children, leave nothing", async () => {
  const { root, child, streamId, ids } = await fullTree(server.acme, 9000);
  await close(server.acme, root);
  const all = await Promise.all([
    ...repeat(4, (i) =>
      codeOf((i % 2 === 0 ? server.acme : there).workflows.deleteWorkflowTree({ workflowId: root })),
    ),
    ...repeat(4, () => codeOf(publish(there, [token(child, "late")]))),
    ...repeat(4, () => codeOf(there.workflows.createWorkflow({ name: "late", parentWorkflowId: child }))),
  ]);
  expect(all.slice(0, 4).filter((code) => code === "OK").length).toBeGreaterThan(0);
  for (const code of all.slice(0, 4)) expect(["OK", "NotFound"]).toContain(code);
  for (const code of all.slice(4)) expect(["FailedPrecondition", "NotFound"]).toContain(code);
  expect(await left(streamId, ids)).toEqual({});
});

test("a deletion that died midway is ended by the next call; until then the tree is there, closed and without entries", async () => {
  const { root, child, streamId, ids } = await fullTree(server.acme, 5000);
  await close(server.acme, root);
  expect(await hideEntries(server.pool, streamId)).toEqual({ entries: 5010 });
  const gap = follow((o) => there.streams.streamWorkflow({ workflowId: child }, o));
  await gap.end();
  expect(gap.cases).toEqual(["opened", "gap", "ended"]);
  await deleteParts(server.pool, streamId);
  expect((await there.workflows.getWorkflow({ workflowId: root })).workflow?.status).toBe(2);
  expect(await there.workflows.deleteWorkflowTree({ workflowId: root })).toMatchObject({ deletedEvents: 0n });
  expect(await left(streamId, ids)).toEqual({});
});

test("a tree in which something is open, and a child, are refused; the count is of what could be read", async () => {
  const root = await newWorkflow(server.acme);
  const child = await newWorkflow(server.acme, root);
  await publish(server.acme, [token(child, "1"), token(child, "2")]);
  await server.acme.workflows.closeWorkflow({ workflowId: root, status: 2 });
  expect(await codeOf(there.workflows.deleteWorkflowTree({ workflowId: root }))).toBe("FailedPrecondition");
  await close(server.acme, child);
  expect(await codeOf(there.workflows.deleteWorkflowTree({ workflowId: child }))).toBe("InvalidArgument");
  await server.pool.query("select retention_set_floors(array[$1::uuid], array[1::bigint])", [
    await streamOf(root),
  ]);
  expect(await there.workflows.deleteWorkflowTree({ workflowId: root })).toMatchObject({ deletedEvents: 5n });
});
