/** GetStats: after a workload whose every count is known, each number is that count. */
import { Agent } from "node:http";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  AdminService,
  type GetStatsRequestSchema,
  type GetStatsResponse,
  Role,
} from "../../gen/tributary/v1/admin_service_pb.ts";
import { AckLevel, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { EventStreamService, StreamScope } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { Priority } from "../../gen/tributary/v1/session_pb.ts";
import { createMemoryBus } from "../../server/bus/memory-bus.ts";
import { readConfig } from "../../server/config.ts";
import { limits } from "../../server/core/limits.ts";
import { startServer } from "../../server/main.ts";
import { byText, observe, Recalling } from "../support/memory-call.ts";
import { adminKey, type Clients, createClients, createTenant, useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";
import { setVariable, Watching } from "../support/variable-call.ts";
import { codeOf } from "./codes.ts";
import { multiplex, streamMany } from "./multiplex-call.ts";
import { begin, texts } from "./session-world.ts";
import { sse } from "./sse-client.ts";
import { follow, type Subscription } from "./subscription.ts";
import { transportsOf } from "./transports.ts";
import { newFamily, newWorkflow, publish, repeat, token } from "./trees.ts";

const server = useServer();
const { CONSOLIDATED, WORKFLOW } = StreamScope;
const latest = { start: { case: "latest" as const, value: true } };
type Request = MessageInitShape<typeof GetStatsRequestSchema>;

const statsOf = ({ admin }: Pick<Clients, "admin">, request: Request = {}) => admin.getStats(request);
const streamOf = ({ streams }: GetStatsResponse, rootOrSpace: string) =>
  streams.find(({ rootWorkflowId, space }) => rootWorkflowId === rootOrSpace || space === rootOrSpace);
const tokens = (workflowId: string, count: number) => repeat(count, (i) => token(workflowId, `${i}`));
const consolidated = ({ streams }: Clients, workflowId: string) =>
  follow((call) => streams.streamWorkflowConsolidated({ workflowId }, call));

test("after a workload of readers over every protocol each number is the true count; when all have left, the totals stay", async () => {
  const mill = await createTenant(server.admin, "mill");
  // Three entries of creation, fifteen tokens; eleven entries; four of five are replaced when conflated.
  const tree = await newWorkflow(mill);
  const child = await newWorkflow(mill, tree);
  const [slow, busy] = [await newWorkflow(mill), await newWorkflow(mill)];
  await publish(mill, [...tokens(tree, 10), ...tokens(child, 5)]);
  await publish(
    mill,
    repeat(5, (i) => ({ ...token(busy, `${i}`), type: EventType.PROGRESS })),
  );
  await mill.memory.createMemorySpace({ space: "notes" });
  await observe(mill, "notes", ["amber 1", "amber 2", "amber 3"]);
  expect(await statsOf(mill)).toMatchObject({
    totalStreams: 0,
    subscribers: 0,
    eventsPublished: 4n + 15n + 5n + 3n,
    eventsDelivered: 0n,
    streams: [],
  });

  // From the past: a page of the store each.
  const byGrpc = consolidated(mill, tree);
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
  const granted = multiplex(mill).send({
    operation: {
      case: "subscribe",
      value: { label: "slow", scope: CONSOLIDATED, workflowId: slow, initialGrant: 3 },
    },
  });
  // From now on.
  const many = streamMany(mill, [
    { label: "tree", scope: CONSOLIDATED, workflowId: tree, options: latest },
    { label: "child", scope: WORKFLOW, workflowId: child, options: latest },
  ]);
  const watching = new Watching(mill, { workflowId: slow, options: latest });
  const recalling = new Recalling(mill, { space: "notes", ...byText("amber"), follow: true });
  const session = await begin(mill);
  await until(() => {
    expect([byGrpc, ...byConnect].map(({ events }) => events.length)).toEqual([17, 11, 11]);
    expect(bySse.ids).toHaveLength(6);
    expect(conflating.events).toHaveLength(2);
    expect(granted.of("slow").events).toHaveLength(1);
    expect(["tree", "child"].map((label) => many.of(label).cases)).toEqual([["opened"], ["opened"]]);
    expect(watching.cases).toEqual(["opened"]);
    expect(recalling.complete?.results).toBe(3);
  });

  await publish(mill, [...tokens(tree, 4), ...tokens(child, 2)]);
  await publish(mill, tokens(slow, 10));
  for (const value of [1, 2]) await setVariable(mill, slow, "speed", value);
  await observe(mill, "notes", ["amber 4", "blue", "amber 5"]);
  session.call.batch(1, texts(5));
  await session.call.durable(5);
  await until(() => {
    expect([byGrpc, ...byConnect].map(({ events }) => events.length)).toEqual([23, 15, 15]);
    expect(bySse.ids).toHaveLength(8);
    expect(["tree", "child"].map((label) => many.of(label).events.length)).toEqual([6, 2]);
    expect(granted.of("slow").events).toHaveLength(3);
    expect(watching.updates).toHaveLength(2);
    expect(recalling.later).toHaveLength(2);
  });

  const published = 27n + 6n + 10n + 2n + 3n + 6n;
  const delivered = 23n + 15n + 15n + 8n + 6n + 2n;
  const stats = await statsOf(mill);
  expect(stats).toMatchObject({
    status: "healthy",
    totalStreams: 4,
    healthyStreams: 4,
    subscribers: 10,
    sessions: 1,
    eventsPublished: published,
    eventsDelivered: delivered + 5n + 2n + 2n,
  });
  expect(stats.streams[0]).toMatchObject({
    streamId: byGrpc.opened?.streamId,
    rootWorkflowId: tree,
    space: "",
    readers: 6,
    windowEntries: 6,
    tailOffset: 23n,
    slowestReaderLag: 0n,
    delivered,
    conflated: 0n,
    storeReads: 4n,
    lastActivityMs: byGrpc.events.at(-1)?.recordedMs,
  });
  expect(stats.streams[1]).toMatchObject({
    rootWorkflowId: slow,
    readers: 2,
    windowEntries: 12,
    tailOffset: 13n,
    slowestReaderLag: 10n,
    delivered: 5n,
    storeReads: 1n,
  });
  expect(streamOf(stats, busy)).toMatchObject({
    readers: 1,
    windowEntries: 0,
    tailOffset: 6n,
    slowestReaderLag: 0n,
    delivered: 2n,
    conflated: 1n,
    storeReads: 1n,
    lastActivityMs: conflating.events.at(-1)?.recordedMs,
  });
  expect(streamOf(stats, "notes")).toMatchObject({
    rootWorkflowId: "",
    readers: 1,
    tailOffset: 6n,
    slowestReaderLag: 0n,
    delivered: 2n,
    conflated: 0n,
  });
  expect(streamOf(stats, "notes")?.storeReads).toBeGreaterThan(0n);
  expect(streamOf(stats, session.workflowId)).toBeUndefined();

  granted.grant("slow", 4);
  await until(async () =>
    expect(streamOf(await statsOf(mill), slow)).toMatchObject({ slowestReaderLag: 6n, delivered: 9n }),
  );
  const two = await statsOf(mill, { maxStreams: 2 });
  expect(two.streams.map(({ rootWorkflowId }) => rootWorkflowId)).toEqual([tree, slow]);
  expect(two).toMatchObject({ totalStreams: 4, healthyStreams: 4, subscribers: 10 });
  const byAdmin = await statsOf(server.admin, { tenantSlug: "mill" });
  expect({ ...byAdmin, uptimeMs: 0n }).toEqual({ ...(await statsOf(mill)), uptimeMs: 0n });

  recalling.leave();
  session.call.cut();
  const open: AsyncDisposable[] = [byGrpc, ...byConnect, bySse, conflating, granted, many, watching];
  for (const reader of open) await reader[Symbol.asyncDispose]();
  await until(async () =>
    expect(await statsOf(mill)).toMatchObject({
      totalStreams: 0,
      healthyStreams: 0,
      subscribers: 0,
      sessions: 0,
      eventsPublished: published,
      eventsDelivered: delivered + 9n + 2n + 2n,
      streams: [],
    }),
  );
});

test("every kind of entry is counted when it was committed, and nothing else", async () => {
  const forge = await createTenant(server.admin, "forge");
  const { root, child } = await newFamily(forge);
  const entries = async () => {
    const { rows } = await server.pool.query(
      "select coalesce(sum(next_offset - 1), 0) as count from stream where tenant_slug = 'forge'",
    );
    return BigInt(rows[0].count);
  };
  const counted = async () => (await statsOf(forge)).eventsPublished;
  expect([await counted(), await entries()]).toEqual([4n, 4n]);
  for (let i = 0; i < 2; i++) {
    const numbered = tokens(child, 7).map((event, n) => ({ ...event, sequence: BigInt(n + 1) }));
    await publish(forge, numbered, { producerId: "once" });
  }
  await setVariable(forge, child, "a", 1);
  await forge.variables.setVariables({
    workflowId: child,
    assignments: [{ name: "b" }, { name: "c" }].map((each) => ({
      ...each,
      value: { kind: { case: "boolValue" as const, value: true } },
    })),
  });
  await forge.variables.deleteVariable({ workflowId: child, name: "a" });
  await forge.workflows.requestCancel({ workflowId: root, reason: "enough" });
  const session = await openSession(forge, child);
  session.batch(1, texts(3));
  await session.durable(3);
  session.say("close", { drain: true });
  await session.closed();
  await forge.memory.createMemorySpace({ space: "sparks" });
  await observe(forge, "sparks", ["one", "two"]);
  const close = { workflowId: root, status: WorkflowStatus.CANCELLED, closeDescendants: true };
  for (let i = 0; i < 2; i++) await forge.workflows.closeWorkflow(close);
  await publish(forge, tokens(child, 1)).catch(() => {}); // refused: it is closed
  expect(await entries()).toBeGreaterThanOrEqual(4n + 7n + 3n + 1n + 3n + 2n + 4n);
  expect(await counted()).toBe(await entries());
});

test("lanes that fill behind a locked stream show what waits there: to a tenant its own, under the same pressure", async () => {
  const [full, idle] = [await createTenant(server.admin, "full"), await createTenant(server.admin, "idle")];
  const workflowId = await newWorkflow(full);
  const session = await openSession(full, workflowId, {
    priority: Priority.HIGH,
    ackLevel: AckLevel.ACCEPTED,
  });
  const lock = await holdStreams(server.database.url, workflowId);
  session.batch(1, texts(20));
  await session.accepted(20);
  const writing = publish(full, tokens(workflowId, 500));
  const lanesOf = async (clients: Clients) =>
    (await statsOf(clients)).lanes.map(({ priority, depth, capacity }) => [priority, depth, capacity]);
  const capacities = Object.values(limits.laneEntries);
  const filled = (high: number, normal: number) => [
    [Priority.HIGH, high, capacities[0]],
    [Priority.NORMAL, normal, capacities[1]],
    [Priority.LOW, 0, capacities[2]],
  ];
  await until(async () => expect(await lanesOf(full)).toEqual(filled(20, 500)));
  expect(await lanesOf(server.admin)).toEqual(filled(20, 500));
  expect(await lanesOf(idle)).toEqual(filled(0, 0));
  const normalOf = async (clients: Clients) => (await statsOf(clients)).lanes[1];
  const [own, all, other] = await Promise.all([full, server.admin, idle].map(normalOf));
  expect([own?.bytes, other?.bytes]).toEqual([all?.bytes, 0n]);
  expect(all?.bytes).toBeGreaterThan(500n);
  expect(own?.pressure).toBeCloseTo(500 / 99_500, 6);
  expect(all?.pressure).toBeCloseTo(500 / 100_000, 6);
  expect(other?.pressure).toBeCloseTo(500 / 100_000, 6);
  await lock.release();
  await writing;
  await session.durable(20);
  expect(await lanesOf(server.admin)).toEqual(filled(0, 0));
  expect((await statsOf(full)).eventsPublished).toBe(521n);
});

describe("a tenant", () => {
  test("sees its own alone, and a call for another one, or by who may not, is refused", async () => {
    const [mine, theirs] = [
      await createTenant(server.admin, "mine"),
      await createTenant(server.admin, "theirs"),
    ];
    const [here, there] = [await newWorkflow(mine), await newWorkflow(theirs)];
    await begin(theirs);
    await using own = consolidated(mine, here);
    await using foreign = consolidated(theirs, there);
    await until(() => expect([own.events.length, foreign.events.length]).toEqual([1, 1]));
    const stats = await statsOf(mine);
    expect(stats).toMatchObject({
      totalStreams: 1,
      healthyStreams: 1,
      subscribers: 1,
      sessions: 0,
      eventsPublished: 1n,
      eventsDelivered: 1n,
    });
    expect(stats.streams.map(({ rootWorkflowId }) => rootWorkflowId)).toEqual([here]);
    expect(await statsOf(mine, { tenantSlug: "mine" })).toMatchObject({ totalStreams: 1, sessions: 0 });
    const all = await statsOf(server.admin, { maxStreams: 1000 });
    expect(all.streams.map(({ rootWorkflowId }) => rootWorkflowId)).toEqual(
      expect.arrayContaining([here, there]),
    );
    expect(all.sessions).toBeGreaterThanOrEqual(1);
    expect(all.eventsPublished).toBeGreaterThanOrEqual(3n);
    expect(all.instanceId).toBe(stats.instanceId);

    const code = (clients: Clients, request: Request = {}) => codeOf(statsOf(clients, request));
    const keyOf = async (...roles: Role[]) => {
      const { key } = await server.admin.admin.createApiKey({ tenantSlug: "mine", roles });
      return server.clients(key);
    };
    expect(await code(mine, { tenantSlug: "theirs" })).toBe("PermissionDenied");
    expect(await code(mine, { tenantSlug: "nobody-at-all" })).toBe("PermissionDenied");
    expect(await code(server.admin, { tenantSlug: "nobody-at-all" })).toBe("NotFound");
    expect(await code(server.admin, { tenantSlug: "NO SLUG" })).toBe("InvalidArgument");
    expect(await code(server.admin, { maxStreams: 1001 })).toBe("InvalidArgument");
    expect(await code(await keyOf(Role.READ, Role.PUBLISH))).toBe("PermissionDenied");
    expect(await code(await keyOf(Role.MANAGE))).toBe("OK");
  });
});

describe("a stream is not healthy", () => {
  test("while a reader needs what retention has removed, and is again when that reader was told", async () => {
    const past = await createTenant(server.admin, "past");
    const workflowId = await newWorkflow(past);
    await publish(past, tokens(workflowId, 9));
    await using call = multiplex(past).send({
      operation: { case: "subscribe", value: { label: "a", workflowId, initialGrant: 2 } },
    });
    await call.until(() => expect(call.of("a").offsets).toEqual([1, 2]));
    expect(await statsOf(past)).toMatchObject({ healthyStreams: 1, streams: [{ slowestReaderLag: 8n }] });
    await server.pool.query(
      "insert into stream_floor select stream_id, 5 from workflow where workflow_id = $1",
      [workflowId],
    );
    await until(async () =>
      expect(await statsOf(past)).toMatchObject({ totalStreams: 1, healthyStreams: 0 }),
    );
    call.grant("a", 100);
    await call.until(() => expect(call.of("a").gaps).toMatchObject([{ fromOffset: 3n, toOffset: 5n }]));
    await until(async () =>
      expect(await statsOf(past)).toMatchObject({ healthyStreams: 1, streams: [{ slowestReaderLag: 0n }] }),
    );
  });
});

describe("the status", () => {
  const config = (databaseUrl: string) =>
    readConfig({
      DATABASE_URL: databaseUrl,
      PORT: "0",
      TRIBUTARY_ADMIN_KEY: adminKey,
      LOG_LEVEL: "silent",
      DRAIN_TIMEOUT_MS: "5000",
    });

  test("tells a database that is away, of which also the streams suffer, and one that is back", async () => {
    const url = new URL(server.database.url);
    await using proxy = disposable(await startTcpProxy(url.hostname, Number(url.port)));
    url.port = String(proxy.port);
    const far = await startServer(config(url.href));
    const admin = createClients(far.url, adminKey);
    const tenant = await createTenant(admin, "far");
    await using reader = consolidated(tenant, await newWorkflow(tenant));
    await reader.open();
    expect(await statsOf(admin)).toMatchObject({ status: "healthy", totalStreams: 1, healthyStreams: 1 });
    proxy.cut();
    await until(
      async () =>
        expect(await statsOf(admin)).toMatchObject({
          status: "degraded: database",
          totalStreams: 1,
          healthyStreams: 0,
          subscribers: 1,
        }),
      20_000,
    );
    proxy.restore();
    await until(
      async () => expect(await statsOf(admin)).toMatchObject({ status: "healthy", healthyStreams: 1 }),
      20_000,
    );
    await reader[Symbol.asyncDispose]();
    await far.close();
  });

  test("tells trouble with the bus, a drain, and to a tenant as to the admin; uptime and instance begin anew", async () => {
    let trouble: string | undefined;
    const bus = { ...createMemoryBus(), degraded: () => trouble };
    const first = await startServer(config(server.database.url), { bus });
    // A client of HTTP/2 would not begin a call on a connection that it was asked to leave.
    const [admin, tenant] = [adminKey, server.acme.key].map((key) => onOneConnection(first.url, key)) as [
      Admin,
      Admin,
    ];
    const statuses = async () => [(await statsOf(admin)).status, (await statsOf(tenant)).status];
    expect(await statuses()).toEqual(["healthy", "healthy"]);
    trouble = "not connected";
    expect(await statuses()).toEqual(["degraded: bus", "degraded: bus"]);
    trouble = undefined;
    expect(await statuses()).toEqual(["healthy", "healthy"]);
    const old = await statsOf(admin);
    await until(async () => expect((await statsOf(admin)).uptimeMs).toBeGreaterThan(old.uptimeMs));
    const closed = first.close();
    expect(await statuses()).toEqual(["draining", "draining"]);
    await closed;
    const second = await startServer(config(server.database.url), { bus });
    const fresh = await statsOf(createClients(second.url, adminKey));
    expect(fresh.instanceId).not.toBe(old.instanceId);
    expect(fresh).toMatchObject({ status: "healthy", eventsPublished: 0n, eventsDelivered: 0n });
    expect(Number(fresh.uptimeMs)).toBeLessThan(60_000);
    await second.close();
    await bus.close();
  });
});

type Admin = Pick<Clients, "admin">;

/** Over HTTP/1.1, on a connection that stays. */
function onOneConnection(baseUrl: string, key: string): Admin {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const transport = createConnectTransport({
    baseUrl,
    httpVersion: "1.1",
    nodeOptions: { agent },
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${key}`);
        return next(request);
      },
    ],
  });
  return { admin: createClient(AdminService, transport) };
}

const disposable = <T extends { close(): Promise<void> }>(thing: T): T & AsyncDisposable =>
  Object.assign(thing, { [Symbol.asyncDispose]: () => thing.close() });
