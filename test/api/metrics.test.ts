/** /metrics: after a workload whose every count is known, each number is that count. */
import { createClient } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { AckLevel, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { FlowAction, Priority, RejectionCode } from "../../gen/tributary/v1/session_pb.ts";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { limits } from "../../server/core/limits.ts";
import { startInstance, stopInstance } from "../support/instances.ts";
import { byText, observe, Recalling } from "../support/memory-call.ts";
import { risen, type Scrape, scrape } from "../support/metrics.ts";
import { createClients, createTenant, useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { until } from "../support/until.ts";
import { Watching } from "../support/variable-call.ts";
import { Listening } from "../watch/listening.ts";
import { Watching as WatchingWorkflows } from "../watch/watching.ts";
import { codeOf } from "./codes.ts";
import { begin, texts } from "./session-world.ts";
import { sse } from "./sse-client.ts";
import { follow, type Subscription } from "./subscription.ts";
import { transportsOf } from "./transports.ts";
import { createWorkflow, newWorkflow, publish, repeat, token } from "./trees.ts";

const server = useServer();
const latest = { start: { case: "latest" as const, value: true } };
const metrics = () => scrape(server.url);
const tokens = (workflowId: string, count: number) => repeat(count, (i) => token(workflowId, `${i}`));

/** By how much these have risen, once it is so. */
const rise = (before: Scrape, wanted: Record<string, number>) =>
  until(async () => expect(risen(before, await metrics(), Object.keys(wanted))).toEqual(wanted));
/** What these are, once it is so. */
const be = (wanted: Record<string, number>) =>
  until(async () => {
    const now = await metrics();
    expect(Object.fromEntries(Object.keys(wanted).map((name) => [name, now.get(name)]))).toEqual(wanted);
  });
const readers = (counts: Record<string, number>) =>
  Object.fromEntries(
    Object.entries({
      tree: 0,
      subtree: 0,
      workflow: 0,
      task: 0,
      space: 0,
      registry: 0,
      system_events: 0,
      ...counts,
    }).map(([kind, count]) => [`tributary_readers{kind="${kind}"}`, count]),
  );

test("after readers over every protocol, from the past and live, each number is the true count", async () => {
  const mill = await createTenant(server.admin, "mill");
  const before = await metrics();
  const tree = await newWorkflow(mill);
  const child = await newWorkflow(mill, tree);
  const busy = await newWorkflow(mill);
  await publish(mill, [...tokens(tree, 10), ...tokens(child, 5)]);
  await publish(
    mill,
    repeat(5, (i) => ({ ...token(busy, `${i}`), type: EventType.PROGRESS })),
  );
  await mill.memory.createMemorySpace({ space: "notes" });
  await observe(mill, "notes", ["amber 1", "amber 2"]);
  await rise(before, {
    tributary_events_published_total: 3 + 15 + 5 + 2,
    tributary_events_delivered_total: 0,
  });

  const byGrpc = follow((call) => mill.streams.streamWorkflowConsolidated({ workflowId: tree }, call));
  const byConnect = transportsOf(server.url, mill.key)
    .filter(([name]) => name === "Connect in JSON" || name === "gRPC-Web on HTTP/1.1")
    .map(([, transport]) =>
      follow((call) =>
        createClient(EventStreamService, transport).streamWorkflow({ workflowId: tree }, call),
      ),
    ) as [Subscription, Subscription];
  const bySse = await sse(`${server.url}/api/tenants/mill/stream/workflows/${child}?after_offset=0`, {
    headers: { authorization: `Bearer ${mill.key}` },
  });
  const conflating = follow((call) =>
    mill.streams.streamWorkflow({ workflowId: busy, options: { conflateTypes: [EventType.PROGRESS] } }, call),
  );
  const past = 17 + 11 + 11 + 6 + 2;
  await rise(before, {
    tributary_events_delivered_total: past,
    tributary_events_replayed_total: past,
    tributary_events_conflated_total: 1,
    tributary_events_replaced_total: 4,
    tributary_store_reads_total: 5,
    tributary_window_hits_total: 0,
    tributary_delivery_latency_seconds_count: 0,
  });

  const task = follow((call) =>
    mill.streams.streamTask({ workflowId: tree, taskExecutionId: "t", options: latest }, call),
  );
  const subtree = follow((call) =>
    mill.streams.streamWorkflowConsolidated({ workflowId: child, options: latest }, call),
  );
  const variables = new Watching(mill, { workflowId: busy, options: latest });
  const recalling = new Recalling(mill, { space: "notes", ...byText("amber"), follow: true });
  const registry = new WatchingWorkflows(mill.workflows);
  const listening = new Listening(mill);
  await be({
    ...readers({ tree: 1, subtree: 1, workflow: 5, task: 1, space: 1, registry: 1, system_events: 1 }),
    'tributary_open_calls{kind="reader"}': 11,
    'tributary_open_calls{kind="writer"}': 0,
    tributary_live_streams: 3,
    tributary_unhealthy_streams: 0,
  });
  await until(() => expect(recalling.complete?.results).toBe(2));

  const live = await metrics();
  await publish(mill, tokens(tree, 4));
  await publish(mill, tokens(child, 2));
  await observe(mill, "notes", ["amber 3"]);
  await until(() => expect(recalling.later).toHaveLength(1));
  await rise(live, {
    tributary_events_published_total: 7,
    tributary_events_delivered_total: 4 * 4 + 3 * 2 + 1,
    tributary_events_replayed_total: 1,
    tributary_window_hits_total: 4 + 3,
    tributary_store_reads_total: 1,
    tributary_delivery_latency_seconds_count: 8,
    'tributary_delivery_latency_seconds_bucket{le="+Inf"}': 8,
    'tributary_notices_healed_total{by="notice"}': 0,
    'tributary_notices_healed_total{by="tail_check"}': 0,
    tributary_notices_dropped_total: 0,
    tributary_events_dropped_total: 0,
  });
  expect((await metrics()).get("tributary_delivery_latency_seconds_sum")).toBeLessThan(8 * 5);
  await be({ tributary_slowest_reader_lag_entries: 0, tributary_window_entries: 6 + 1 });

  recalling.leave();
  const open: AsyncDisposable[] = [byGrpc, ...byConnect, bySse, conflating, task, subtree, variables];
  for (const reader of [...open, registry, listening]) await reader[Symbol.asyncDispose]();
  await be({ ...readers({}), 'tributary_open_calls{kind="reader"}': 0, tributary_live_streams: 0 });
});

test("sessions are counted by state, acks by their wait, and what was refused by its reason", async () => {
  const forge = await createTenant(server.admin, "forge");
  const before = await metrics();
  const [one, two] = [await begin(forge), await begin(forge)];
  await be({ 'tributary_sessions{state="active"}': 2, 'tributary_sessions{state="paused"}': 0 });
  one.call.batch(1, texts(5));
  await one.call.durable(5);
  one.call.batch(9, texts(1)); // a gap
  one.call.batch(6, []); // nothing in it
  one.call.batch(6, texts(1)); // on from where it was
  one.call.batch(6, texts(2)); // one of them again
  await one.call.durable(7);
  one.call.batch(8, texts(1), { taskExecutionId: "done", type: EventType.COMPLETED });
  await one.call.durable(8);
  one.call.batch(9, texts(2), { taskExecutionId: "done" });
  await one.call.durable(10);
  two.call.say("flow", { action: FlowAction.PAUSE });
  two.call.batch(1, texts(1));
  await be({ 'tributary_sessions{state="active"}': 1, 'tributary_sessions{state="paused"}': 1 });
  const rejections = (counts: Record<string, number>) =>
    Object.fromEntries(
      Object.entries(counts).map(([reason, n]) => [`tributary_rejections_total{reason="${reason}"}`, n]),
    );
  const acks = one.call.all("ack").filter(({ level }) => level === AckLevel.DURABLE).length;
  await rise(before, {
    tributary_events_published_total: 2 + 8,
    tributary_ack_latency_seconds_count: acks,
    ...rejections({ sequence_gap: 1, bad_message: 1, sequence_duplicate: 1, task_closed: 2, paused: 1 }),
  });

  // Outside sessions.
  await publish(forge, [{ ...token(one.workflowId, "x", "over"), type: EventType.COMPLETED }]);
  expect(await codeOf(publish(forge, [token(one.workflowId, "x", "over")]))).toBe("FailedPrecondition");
  await forge.workflows.closeWorkflow({ workflowId: one.workflowId, status: WorkflowStatus.COMPLETED });
  const closed = { workflowExecutionId: one.workflowId, taskExecutionId: "t", type: EventType.TOKEN };
  expect(await codeOf(forge.tasks.streamTaskData(closed))).toBe("FailedPrecondition");
  await rise(before, rejections({ task_closed: 3, workflow_closed: 1, overloaded: 0, unavailable: 0 }));

  // Limits of the tenant.
  await server.admin.admin.updateTenant({ slug: "forge", limits: { maxSessions: 3, maxEventsPerSecond: 5 } });
  const three = await begin(forge);
  expect(await codeOf(begin(forge))).toBe("ResourceExhausted");
  three.call.batch(1, texts(10));
  expect(await three.call.nth("rejected", 1)).toMatchObject({ code: RejectionCode.RATE_LIMITED });
  await rise(before, {
    'tributary_quota_refusals_total{limit="max_sessions"}': 1,
    'tributary_quota_refusals_total{limit="max_events_per_second"}': 1,
    ...rejections({ rate_limited: 1 }),
  });
  for (const { call } of [one, two, three]) call.cut();
  await be({ 'tributary_sessions{state="active"}': 0, 'tributary_sessions{state="paused"}': 0 });
});

test("commits, lanes that fill behind a locked stream, and an accepted event that is dropped", async () => {
  const full = await createTenant(server.admin, "full");
  const workflowId = await newWorkflow(full);
  const event = { workflowExecutionId: workflowId, taskExecutionId: "t", type: EventType.TOKEN };
  await full.tasks.streamTaskData({ ...event, waitForDurable: true });
  const session = await openSession(full, workflowId, {
    priority: Priority.HIGH,
    ackLevel: AckLevel.ACCEPTED,
  });
  await session.opened();
  const before = await metrics();
  const lock = await holdStreams(server.database.url, workflowId);
  session.batch(1, texts(20));
  await session.accepted(20);
  const writing = publish(full, tokens(workflowId, 500));
  await be({
    'tributary_lane_depth_entries{lane="high"}': 20,
    'tributary_lane_depth_entries{lane="normal"}': 500,
    'tributary_lane_depth_entries{lane="low"}': 0,
    'tributary_lane_capacity_entries{lane="high"}': limits.laneEntries.high,
    'tributary_lane_pressure{lane="normal"}': 500 / limits.laneEntries.normal,
  });
  const busy = 'tributary_commit_failures_total{failure="busy"}';
  await until(async () => expect(risen(before, await metrics(), [busy])[busy]).toBeGreaterThan(0));
  await lock.release();
  await writing;
  await session.durable(20);
  session.cut();
  await rise(before, { tributary_events_published_total: 520, tributary_commit_entries_sum: 520 });
  const now = await metrics();
  const commits = now.get("tributary_commit_entries_count");
  expect(commits).toBeGreaterThan(before.get("tributary_commit_entries_count") ?? Number.NaN);
  expect(now.get("tributary_commit_duration_seconds_count")).toBe(commits);

  const second = await holdStreams(server.database.url, workflowId);
  const closing = full.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
  await until(() => expect(server.server.gauges().waitingCommands).toBe(1));
  expect((await full.tasks.streamTaskData(event)).level).toBe(AckLevel.ACCEPTED);
  await second.release();
  await closing;
  await rise(now, {
    tributary_events_dropped_total: 1,
    'tributary_rejections_total{reason="workflow_closed"}': 0,
  });
});

test("two servers of one process count apart, and what one of them says of its bus and its connections is its own", async () => {
  const bus = { ...createMemoryBus(), dropped: () => 7, degraded: () => "NATS is away" };
  const other = await startInstance(server.database.url, { POOL_SIZE: "3" }, bus);
  const before = await metrics();
  await newWorkflow(server.clients(server.acme.key));
  const theirs = await scrape(other.url);
  expect(risen(before, await metrics(), ["tributary_events_published_total"])).toEqual({
    tributary_events_published_total: 1,
  });
  expect(theirs.get("tributary_events_published_total")).toBe(0);
  expect(theirs.get("tributary_notices_dropped_total")).toBe(7);
  expect(theirs.get("tributary_pool_capacity")).toBe(3);
  expect(theirs.get('tributary_status{status="degraded: bus"}')).toBe(1);
  expect(theirs.get('tributary_status{status="healthy"}')).toBe(0);
  expect(before.get('tributary_status{status="healthy"}')).toBe(1);
  // What is of the process both tell.
  for (const each of [before, theirs])
    expect(each.get("tributary_process_cpu_seconds_total")).toBeGreaterThan(0);
  await stopInstance(other);
});

test("a notice that never came is counted when the tail check has replaced it, and readers have the event", async () => {
  const deaf = { ...createMemoryBus(), publish: () => {} };
  const instance = await startInstance(server.database.url, {}, deaf);
  const clients = createClients(instance.url, server.acme.key);
  const workflowId = await newWorkflow(clients);
  const reader = follow((call) => clients.streams.streamWorkflow({ workflowId, options: latest }, call));
  await reader.open();
  await publish(clients, tokens(workflowId, 3));
  await until(() => expect(reader.events).toHaveLength(3));
  const healed = async () => {
    const now = await scrape(instance.url);
    return ["notice", "tail_check"].map((by) => now.get(`tributary_notices_healed_total{by="${by}"}`));
  };
  await until(async () => expect(await healed()).toEqual([0, 1]));
  const delay = (await scrape(instance.url)).get("tributary_delivery_latency_seconds_sum");
  expect(delay).toBeGreaterThan(0);
  await reader[Symbol.asyncDispose]();
  await stopInstance(instance);
});

test("what retention takes is counted, and so are queries that wait for a connection", async () => {
  const before = await metrics();
  const { workflowId } = await createWorkflow(server.acme, { retention: { maxEvents: 4n } });
  await publish(server.acme, tokens(workflowId, 20));
  await rise(before, { tributary_events_published_total: 21, tributary_events_trimmed_total: 17 });
  // Three of the five connections are for all but pages, and eight want one that does not come free.
  const lock = await server.pool.connect();
  await lock.query("begin; lock table variable in access exclusive mode");
  const asking = repeat(8, () => server.acme.variables.listVariables({ workflowId }));
  try {
    await be({ 'tributary_pool_connections{state="busy"}': 3 });
    await until(async () =>
      expect((await metrics()).get("tributary_pool_waiting")).toBeGreaterThanOrEqual(5),
    );
  } finally {
    await lock.query("rollback");
    lock.release();
  }
  await Promise.all(asking);
  await be({ tributary_pool_waiting: 0, 'tributary_pool_connections{state="busy"}': 0 });
});

test("what a lane has no room for is a rejection, each call that was refused one", async () => {
  const crowd = await createTenant(server.admin, "crowd");
  const workflowId = await newWorkflow(crowd);
  const lock = await holdStreams(server.database.url, workflowId);
  const before = await metrics();
  // A tenant may hold half of the lane's 64 MiB.
  const payload = "x".repeat(1024 * 1024 - 1024);
  const event = {
    workflowExecutionId: workflowId,
    taskExecutionId: "t",
    type: EventType.DATA,
    payload,
  };
  const codes = repeat(40, () => codeOf(crowd.tasks.streamTaskData({ ...event, waitForDurable: true })));
  const overloaded = 'tributary_rejections_total{reason="overloaded"}';
  const refused = async () => (await metrics()).get(overloaded) ?? 0;
  await until(async () => expect((await refused()) - (before.get(overloaded) ?? 0)).toBeGreaterThan(4));
  await lock.release();
  const found = (await Promise.all(codes)).filter((code) => code === "ResourceExhausted").length;
  await rise(before, {
    [overloaded]: found,
    tributary_events_published_total: 40 - found,
  });
});
