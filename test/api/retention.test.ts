/** Retention as users see it: set by the API, enforced by the server's own sweep, told to every kind of reader. */
import { expect, test } from "vitest";
import { EventType, GapReason, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { byText, contents, observe, openObserving, Recalling, recalled } from "../support/memory-call.ts";
import { type Clients, createTenant, useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { getVariable, setVariable, Watching } from "../support/variable-call.ts";
import { codeOf } from "./codes.ts";
import { multiplex, streamMany } from "./multiplex-call.ts";
import { sse } from "./sse-client.ts";
import { follow, readToEnd } from "./subscription.ts";
import { createWorkflow, newFamily, newWorkflow, publish, repeat, token } from "./trees.ts";

const server = useServer({ RETENTION_INTERVAL_MS: "100" });

let made = 0;
async function newTenant(): Promise<{ slug: string; clients: Clients }> {
  const slug = `kept-${++made}`;
  return { slug, clients: await createTenant(server.admin, slug) };
}

/** Numbered, in case a producer is given. */
const tokens = (workflowId: string, count: number) =>
  repeat(count, (i) => ({ ...token(workflowId, `${i + 1}`), sequence: BigInt(i + 1) }));
const after = (value: bigint) => ({ start: { case: "afterOffset" as const, value } });

const floorOf = async ({ streams }: Clients, workflowId: string) =>
  Number((await streams.readEvents({ workflowId })).floorOffset);
const trimmedTo = (clients: Clients, workflowId: string, floor: number) =>
  until(async () => expect(await floorOf(clients, workflowId)).toBe(floor));

/** A tree that has ended and whose entries are gone: root and child with a task that is complete, and a variable. */
async function goneTree(clients: Clients) {
  const { workflowId: root } = await createWorkflow(clients, { retention: { maxAgeAfterCloseMs: 1n } });
  const child = await newWorkflow(clients, root);
  await publish(clients, tokens(root, 3));
  await publish(clients, [
    {
      workflowId: child,
      taskExecutionId: "task",
      type: EventType.COMPLETED,
      payload: { case: "text", value: "" },
    },
  ]);
  await setVariable(clients, child, "v", 7);
  await clients.workflows.closeWorkflow({
    workflowId: root,
    status: WorkflowStatus.FAILED,
    closeDescendants: true,
  });
  await trimmedTo(clients, root, 9);
  return { root, child };
}

test("a tenant's limit is enforced from the next sweep on, also on trees that were there", async () => {
  const { slug, clients } = await newTenant();
  const [before, own] = [
    await newWorkflow(clients),
    await createWorkflow(clients, { retention: { maxEvents: 6n } }),
  ];
  await publish(clients, [...tokens(before, 9), ...tokens(own.workflowId, 9)], { producerId: "p" });
  await trimmedTo(clients, own.workflowId, 4);
  expect(await floorOf(clients, before)).toBe(0);
  await server.admin.admin.updateTenant({ slug, retentionEvents: 4n });
  await trimmedTo(clients, before, 6);
  const later = await newWorkflow(clients);
  await publish(clients, tokens(later, 9));
  await trimmedTo(clients, later, 6);
  const { tenant } = await server.admin.admin.updateTenant({ slug, displayName: "what is absent stays" });
  expect(tenant).toMatchObject({ retentionEvents: 4n, retentionMs: 0n });
  await server.admin.admin.updateTenant({ slug, retentionEvents: 0n });
  await publish(clients, tokens(later, 9));
  expect(await floorOf(clients, later)).toBe(6);
  const again = await publish(clients, [...tokens(before, 9), ...tokens(own.workflowId, 9)], {
    producerId: "p",
  });
  expect(again, "what was stored once is not stored again").toMatchObject({ accepted: 0n, duplicates: 18n });
  await until(async () => expect((await clients.admin.getStats({})).eventsTrimmed).toBe(4n + 6n + 6n));
  expect((await server.globex.admin.getStats({})).eventsTrimmed, "of another tenant").toBe(0n);
});

test("a negative age, and a retention of a child, are refused", async () => {
  const { slug, clients } = await newTenant();
  expect(await codeOf(server.admin.admin.updateTenant({ slug, retentionMs: -1n }))).toBe("InvalidArgument");
  expect(await codeOf(createWorkflow(clients, { retention: { maxAgeAfterCloseMs: -1n } }))).toBe(
    "InvalidArgument",
  );
  const parentWorkflowId = await newWorkflow(clients);
  expect(await codeOf(createWorkflow(clients, { parentWorkflowId, retention: { maxEvents: 1n } }))).toBe(
    "InvalidArgument",
  );
});

test("pages begin after the floor, in both directions", async () => {
  const { workflowId } = await createWorkflow(server.acme, { retention: { maxEvents: 5n } });
  await publish(server.acme, tokens(workflowId, 19));
  await trimmedTo(server.acme, workflowId, 15);
  const { streams } = server.acme;
  for (const consolidated of [false, true]) {
    const rising = await streams.readEvents({ workflowId, consolidated });
    expect(rising.events.map(({ offset }) => Number(offset))).toEqual([16, 17, 18, 19, 20]);
    expect(rising).toMatchObject({ more: false, tailOffset: 20n });
    const falling = await streams.readEvents({ workflowId, consolidated, descending: true, limit: 5 });
    expect(falling.events.map(({ offset }) => Number(offset))).toEqual([20, 19, 18, 17, 16]);
    expect(falling.more).toBe(false);
  }
});

test("a tree that has ended and is trimmed whole is Opened, one Gap, and Ended, for every scope", async () => {
  const { root, child } = await goneTree(server.acme);
  const { streams } = server.acme;
  const scopes = [
    [9n, WorkflowStatus.FAILED, (o: object) => streams.streamWorkflowConsolidated({ workflowId: root }, o)],
    [9n, WorkflowStatus.FAILED, (o: object) => streams.streamWorkflow({ workflowId: root }, o)],
    [
      8n,
      WorkflowStatus.CANCELLED,
      (o: object) => streams.streamWorkflowConsolidated({ workflowId: child }, o),
    ],
    [
      6n,
      WorkflowStatus.CANCELLED,
      (o: object) => streams.streamTask({ workflowId: child, taskExecutionId: "task" }, o),
    ],
  ] as const;
  for (const [finalOffset, status, start] of scopes) {
    const reader = await readToEnd(start);
    expect(reader.cases).toEqual(["opened", "gap", "ended"]);
    expect(reader.opened).toMatchObject({ startOffset: 0n, tailOffset: 9n, floorOffset: 9n });
    expect(reader.gaps).toMatchObject([{ fromOffset: 1n, toOffset: finalOffset, reason: GapReason.TRIMMED }]);
    expect(reader.ended).toMatchObject({ finalOffset, status });
  }
  const resumed = await readToEnd((o) => streams.streamWorkflow({ workflowId: root, options: after(4n) }, o));
  expect(resumed.gaps).toMatchObject([{ fromOffset: 5n, toOffset: 9n }]);
  const atEnd = await readToEnd((o) => streams.streamWorkflow({ workflowId: root, options: after(9n) }, o));
  expect(atEnd.cases).toEqual(["opened", "ended"]);
});

test("the registry, variables and ends of tasks outlive the entries", async () => {
  const { root, child } = await goneTree(server.acme);
  const { workflows: tree } = await server.acme.workflows.getWorkflowTree({ workflowId: root });
  expect(tree.map(({ workflowId, status }) => [workflowId, status])).toEqual([
    [root, WorkflowStatus.FAILED],
    [child, WorkflowStatus.CANCELLED],
  ]);
  expect(await getVariable(server.acme, child, "v")).toMatchObject({ version: 1n });
  const task = await readToEnd((o) =>
    server.acme.streams.streamTask({ workflowId: child, taskExecutionId: "task" }, o),
  );
  expect(task.ended?.taskOutcome).toBe(EventType.COMPLETED);
});

test("Server-Sent Events tell a gap with its id, and answer 204 after the end", async () => {
  const { root } = await goneTree(server.acme);
  const path = `/api/tenants/acme/stream/workflows/${root}/consolidated`;
  const headers = { authorization: `Bearer ${server.acme.key}` };
  await using answer = await sse(server.url + path, { headers });
  await answer.end();
  expect(answer.events.map(({ event, id }) => [event, id])).toEqual([
    ["open", undefined],
    ["gap", "9"],
    ["end", "9"],
  ]);
  expect(JSON.parse(answer.events[1]?.data ?? "")).toEqual({ fromOffset: 1, toOffset: 9, reason: "TRIMMED" });
  const again = await fetch(server.url + path, { headers: { ...headers, "last-event-id": "9" } });
  expect(again.status).toBe(204);
});

test("labels of StreamMany and Multiplex are told of their own gaps", async () => {
  const { workflowId } = await createWorkflow(server.acme, { retention: { maxEvents: 3n } });
  const whole = await newWorkflow(server.acme);
  await publish(server.acme, [...tokens(workflowId, 9), ...tokens(whole, 2)]);
  await trimmedTo(server.acme, workflowId, 7);
  const targets = [
    { label: "trimmed", workflowId, options: after(2n) },
    { label: "whole", workflowId: whole, options: after(0n) },
  ];
  await using many = streamMany(server.acme, targets);
  await using flow = multiplex(server.acme);
  for (const subscribe of targets) flow.send({ operation: { case: "subscribe", value: subscribe } });
  for (const call of [many, flow]) {
    await call.until(() => {
      expect(call.of("trimmed").offsets).toEqual([8, 9, 10]);
      expect(call.of("whole").offsets).toEqual([1, 2, 3]);
    });
    expect(call.of("trimmed").gaps).toMatchObject([{ fromOffset: 3n, toOffset: 7n }]);
    expect(call.of("whole").gaps).toEqual([]);
  }
});

test("a live reader is not disturbed: what it was sent already is no gap", async () => {
  const { workflowId } = await createWorkflow(server.acme, { retention: { maxEvents: 2n } });
  await using reader = follow((o) => server.acme.streams.streamWorkflow({ workflowId }, o));
  for (let i = 1; i <= 5; i++) {
    await publish(server.acme, [token(workflowId, `${i}`)]);
    await reader.until(() => expect(reader.offsets.at(-1)).toBe(i + 1));
    if (i > 1) await trimmedTo(server.acme, workflowId, i - 1);
  }
  expect(reader.offsets).toEqual([1, 2, 3, 4, 5, 6]);
  expect(reader.gaps).toEqual([]);
  await until(async () => {
    const { streams, healthyStreams, totalStreams } = await server.acme.admin.getStats({});
    expect(healthyStreams).toBe(totalStreams);
    expect(streams.find(({ rootWorkflowId }) => rootWorkflowId === workflowId)).toMatchObject({
      floorOffset: 4n,
    });
  });
});

test("a watch of variables that comes back below the floor is told the loss, then the values as they are", async () => {
  const { workflowId } = await createWorkflow(server.acme, { retention: { maxEvents: 2n } });
  for (let i = 1; i <= 6; i++) await setVariable(server.acme, workflowId, i % 2 === 0 ? "even" : "odd", i);
  await trimmedTo(server.acme, workflowId, 5);
  await using watch = new Watching(server.acme, { workflowId, options: after(3n) });
  await watch.until(() => expect(watch.cases).toContain("snapshotComplete"));
  expect(watch.cases).toEqual(["opened", "gap", "updates", "snapshotComplete"]);
  expect(watch.message("gap")).toMatchObject({ fromOffset: 4n, toOffset: 5n });
  expect(watch.shown).toEqual(["initial even=6 v3", "initial odd=5 v3"]);
  await setVariable(server.acme, workflowId, "odd", 9);
  await watch.until(() => expect(watch.shown.at(-1)).toBe("set odd=9 v4"));
});

test("a space keeps its newest; recall and GetObservation know no others, and ids are free again", async () => {
  const space = `kept-${++made}`;
  await server.acme.memory.createMemorySpace({ space, retention: { maxObservations: 3n } });
  const writer = await openObserving(server.acme, space);
  writer.batch(
    1,
    repeat(5, (i) => ({ observationId: `id-${i + 1}`, content: `word ${i + 1}` })),
  );
  await writer.durable(5);
  const observation = (observationId: string) =>
    codeOf(
      server.acme.memory.getObservation({ space, key: { case: "observationId", value: observationId } }),
    );
  await until(async () =>
    expect([await observation("id-2"), await observation("id-3")]).toEqual(["NotFound", "OK"]),
  );
  expect(await codeOf(server.acme.memory.getObservation({ space, key: { case: "offset", value: 2n } }))).toBe(
    "NotFound",
  );
  const found = await recalled(server.acme, { space, ...byText("word") });
  expect(contents(found.results).toSorted()).toEqual(["word 3", "word 4", "word 5"]);
  const follower = new Recalling(server.acme, { space, ...byText("word"), follow: true, options: after(1n) });
  await until(() => expect(contents(follower.results)).toEqual(["word 3", "word 4", "word 5"]));
  expect(follower.messages.slice(0, 2)).toMatchObject([
    { case: "opened", value: { startOffset: 1n, floorOffset: 2n } },
    { case: "gap", value: { fromOffset: 2n, toOffset: 2n } },
  ]);
  writer.batch(6, [{ observationId: "id-1", content: "word 1 again" }]);
  await until(() => expect(contents(follower.results).at(-1)).toBe("word 1 again"));
});

test("UpdateMemorySpace is enforced from the next sweep on; absent, retention stays", async () => {
  const space = `kept-${++made}`;
  await server.acme.memory.createMemorySpace({ space });
  await observe(server.acme, space, ["word a", "word b", "word c"]);
  const here = async () =>
    contents((await recalled(server.acme, { space, ...byText("word") })).results).toSorted();
  expect(await here()).toHaveLength(3);
  await server.acme.memory.updateMemorySpace({ space, retention: { maxObservations: 2n } });
  await until(async () => expect(await here()).toEqual(["word b", "word c"]));
  const { memorySpace } = await server.acme.memory.updateMemorySpace({ space, displayName: "named" });
  expect(memorySpace).toMatchObject({
    displayName: "named",
    retention: { maxObservations: 2n, maxAgeMs: 0n },
  });
  await server.acme.memory.updateMemorySpace({ space, retention: { maxAgeMs: 1n } });
  await until(async () => expect(await here()).toEqual([]));
});

test("a subtree's reader in the past is told of a trim between two of its pages, and goes on after it", async () => {
  const { root, child, grandchild } = await newFamily(server.acme);
  const { slug, clients } = await newTenant();
  expect(slug).toBeDefined();
  expect(await codeOf(clients.streams.readEvents({ workflowId: root })), "of another tenant").toBe(
    "PermissionDenied",
  );
  await publish(server.acme, [...tokens(child, 30), ...tokens(grandchild, 30), ...tokens(root, 30)]);
  const [row] = (await server.pool.query("select stream_id from workflow where workflow_id = $1", [root]))
    .rows;
  await server.pool.query("select retention_set_floors(array[$1::uuid], array[40::bigint])", [row.stream_id]);
  await using reader = follow((o) =>
    server.acme.streams.streamWorkflowConsolidated({ workflowId: child, options: after(10n) }, o),
  );
  await reader.until(() => expect(reader.offsets.at(-1)).toBe(64));
  expect(reader.gaps).toMatchObject([{ fromOffset: 11n, toOffset: 40n }]);
  expect(reader.offsets[0]).toBe(41);
});
