/** What the client does about failures: classes, waits, attempts, deadlines, the circuit breaker, other servers, credentials. */
import { createServer, type Http2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ClosingReason,
  classify,
  createTributaryClient,
  type ResilienceEvent,
  type ResilienceOptions,
  WorkflowStatus,
} from "../../client/index.ts";
import { readConfig } from "../../server/config.ts";
import { startServer } from "../../server/main.ts";
import { newWorkflow, publish, readAll, token } from "../api/trees.ts";
import { openProxy } from "../client/cutting-proxy.ts";
import { adminKey, useServer } from "../support/server.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

const server = useServer();
const quick = { backoff: { firstMs: 1, longestMs: 5 } };

/** Answers every call with these statuses, one after another; the last one again and again. */
let fake: Http2Server;
let statuses: readonly (Code | "silence")[] = [];
let calls = 0;
beforeAll(async () => {
  fake = createServer().on("stream", (stream) => {
    stream.on("error", () => {});
    const status = statuses[Math.min(calls++, statuses.length - 1)] ?? Code.Internal;
    if (status === "silence") return;
    stream.respond(
      { ":status": 200, "content-type": "application/grpc+proto", "grpc-status": String(status) },
      { endStream: true },
    );
  });
  await new Promise<void>((resolve) => fake.listen(0, "127.0.0.1", resolve));
});
afterAll(() => {
  fake.close();
});
function faking(answers: readonly (Code | "silence")[], resilience: ResilienceOptions = {}) {
  statuses = answers;
  calls = 0;
  const events: ResilienceEvent[] = [];
  const client = createTributaryClient({
    baseUrl: `http://127.0.0.1:${(fake.address() as AddressInfo).port}`,
    credential: "any",
    resilience: { ...quick, ...resilience, onEvent: (event) => events.push(event) },
  });
  return { client, events };
}
const workflowId = crypto.randomUUID();

test.each([
  [Code.Unavailable, "transient"],
  [Code.Unknown, "transient"],
  [Code.DeadlineExceeded, "timeout"],
  [Code.ResourceExhausted, "exhausted"],
  [Code.NotFound, "permanent"],
  [Code.Internal, "permanent"],
  [Code.Aborted, "permanent"],
  [Code.FailedPrecondition, "permanent"],
] as const)("status %s of the server is %s", (code, expected) => {
  expect(classify(new ConnectError("said", code, { "grpc-status": String(code) }))).toBe(expected);
});

describe("a call that is no stream", () => {
  test("is tried again as often as it may, with longer and longer waits, and told of", async () => {
    const { client, events } = faking([Code.Unavailable], {
      attempts: 4,
      backoff: { firstMs: 4, longestMs: 8 },
    });
    await expect(client.workflows.getWorkflow({ workflowId })).rejects.toMatchObject({
      code: Code.Unavailable,
    });
    expect(calls).toBe(4);
    expect(events.map(({ kind }) => kind)).toEqual(["retry", "retry", "retry", "gave-up"]);
    const waits = events.flatMap((event) => (event.kind === "retry" ? [event.retryInMs] : []));
    for (const [at, most] of [4, 8, 8].entries()) expect(waits[at]).toBeLessThanOrEqual(most);
    expect(events[0]).toMatchObject({ what: "tributary.v1.WorkflowService/GetWorkflow", class: "transient" });
    client.close();
  });

  test("is not tried again when that cannot help", async () => {
    const { client, events } = faking([Code.NotFound]);
    await expect(client.workflows.getWorkflow({ workflowId })).rejects.toMatchObject({ code: Code.NotFound });
    expect([calls, events.filter(({ kind }) => kind === "retry")]).toEqual([1, []]);
    client.close();
  });

  test("is not tried again when it might be done twice, unless the server did nothing", async () => {
    const { client } = faking([Code.Unavailable], { attempts: 3 });
    await expect(client.workflows.createWorkflow({ name: "x" })).rejects.toThrow();
    expect(calls).toBe(1);
    calls = 0;
    await expect(client.workflows.createWorkflow({ name: "x", workflowId })).rejects.toThrow();
    expect(calls).toBe(3); // with an id, twice is as good as once
    calls = 0;
    statuses = [Code.ResourceExhausted];
    await expect(client.workflows.createWorkflow({ name: "x" })).rejects.toThrow();
    expect(calls).toBe(3);
    client.close();
  });

  test("has a deadline for each attempt", async () => {
    const { client, events } = faking(["silence"], { timeoutMs: 30, attempts: 2 });
    await expect(client.workflows.getWorkflow({ workflowId })).rejects.toMatchObject({
      code: Code.DeadlineExceeded,
    });
    expect(calls).toBe(2);
    expect(events.map((event) => "class" in event && event.class)).toEqual(["timeout", "timeout"]);
    client.close();
  });

  test("hears its signal, also between two attempts", async () => {
    const { client } = faking([Code.Unavailable], { backoff: { firstMs: 60_000, longestMs: 60_000 } });
    const stop = new AbortController();
    const call = client.workflows.getWorkflow({ workflowId }, { signal: stop.signal });
    await until(() => expect(calls).toBe(1));
    stop.abort();
    await expect(call).rejects.toMatchObject({ code: Code.Canceled });
    client.close();
  });
});

describe("the circuit breaker", () => {
  test("leaves a server alone that fails again and again, then asks it once, and closes when that is well", async () => {
    const { client, events } = faking([Code.Unavailable], {
      attempts: 1,
      breaker: { failures: 3, halfOpenAfterMs: 60 },
    });
    const get = () => client.workflows.getWorkflow({ workflowId }).catch((error: unknown) => error);
    for (let i = 0; i < 5; i++) await get();
    expect(calls).toBe(3);
    expect(await get()).toMatchObject({
      code: Code.Unavailable,
      message: expect.stringContaining("left alone"),
    });
    const states = () => events.flatMap((event) => (event.kind === "breaker" ? [event.state] : []));
    expect(states()).toEqual(["open"]);

    await new Promise((resolve) => setTimeout(resolve, 70));
    await Promise.all([get(), get(), get()]);
    expect(calls).toBe(4); // one of them asked
    expect(states()).toEqual(["open", "half-open", "open"]);

    await new Promise((resolve) => setTimeout(resolve, 70));
    statuses = [Code.NotFound]; // an answer: the server is there
    await Promise.all([get(), get(), get()]);
    expect(states()).toEqual(["open", "half-open", "open", "half-open", "closed"]);
    expect(calls).toBe(7);
    client.close();
  });

  test("does not hold it against a server that callers gave up", async () => {
    const { client, events } = faking(["silence"], { breaker: { failures: 2 } });
    for (let i = 0; i < 5; i++) {
      const stop = new AbortController();
      const call = client.workflows.getWorkflow({ workflowId }, { signal: stop.signal });
      const stream = client.follow(workflowId, { signal: stop.signal }).next();
      await until(() => expect(calls).toBe(2 * i + 2));
      stop.abort();
      await Promise.allSettled([call, stream]);
    }
    expect(events.filter(({ kind }) => kind === "breaker")).toEqual([]);
    client.close();
  });

  test("spares a server that comes back: of many streams one asks, the others wait", async () => {
    const id = await newWorkflow(server.acme);
    await using proxy = await openProxy(server.url);
    const events: ResilienceEvent[] = [];
    const client = createTributaryClient({
      baseUrl: proxy.url,
      credential: server.acme.key,
      resilience: { ...quick, breaker: { halfOpenAfterMs: 100 }, onEvent: (event) => events.push(event) },
    });
    const streams = Array.from({ length: 20 }, () => client.follow(id));
    const reading = streams.map((stream) => stream.forEach(() => {}));
    await until(() => expect(streams.map(({ state }) => state)).toEqual(streams.map(() => "live")));
    const before = proxy.accepted;
    proxy.refuse();
    proxy.cut("reset");
    await new Promise((resolve) => setTimeout(resolve, 350));
    const attempts = events.filter(({ kind }) => kind === "retry").length;
    expect(attempts).toBeGreaterThan(40);
    proxy.accept();
    await until(() => expect(streams.map(({ state }) => state)).toEqual(streams.map(() => "live")));
    // Most attempts never reached the server.
    expect(proxy.accepted - before).toBeLessThan(10);
    await server.acme.workflows.closeWorkflow({ workflowId: id, status: WorkflowStatus.COMPLETED });
    await Promise.all(reading);
    client.close();
  });
});

test("a stream that falls silent is given up and resumed elsewhere", async () => {
  const id = await newWorkflow(server.acme);
  const proxy = await startTcpProxy("127.0.0.1", Number(new URL(server.url).port));
  const client = createTributaryClient({
    baseUrl: [`http://127.0.0.1:${proxy.port}`, server.url],
    credential: server.acme.key,
    resilience: { ...quick, silenceMs: 150, openTimeoutMs: 500 },
  });
  const stream = client.follow(id);
  const collecting = stream.collect({ limit: 2 });
  await until(() => expect(stream.state).toBe("live"));
  proxy.silence();
  await publish(server.acme, [token(id, "x")]);
  const { values, outcome } = await collecting;
  expect([values.length, outcome]).toEqual([2, "full"]);
  await stream.return();
  client.close();
  await proxy.close();
});

test("of several servers the next one is asked when one is away, for calls, streams and sessions", async () => {
  const id = await newWorkflow(server.acme);
  await using proxy = await openProxy(server.url);
  const client = createTributaryClient({
    baseUrl: ["http://127.0.0.1:1", proxy.url, server.url],
    credential: server.acme.key,
    resilience: quick,
  });
  expect((await client.workflows.getWorkflow({ workflowId: id })).workflow?.workflowId).toBe(id);
  expect(proxy.accepted).toBe(1);
  const stream = client.follow(id);
  const reading = stream.collect();
  const session = client.openSession({ workflowId: id });
  await session.opened;
  proxy.refuse();
  proxy.cut("reset");
  await session.task("t").token("x");
  await session.close();
  await server.acme.workflows.closeWorkflow({ workflowId: id, status: WorkflowStatus.COMPLETED });
  expect((await reading).values.length).toBe(3);
  client.close();
});

test("a server that stops sends its streams and sessions to the next one, and nothing is lost or doubled", async () => {
  const leaving = await startServer(
    readConfig({
      DATABASE_URL: server.database.url,
      PORT: "0",
      TRIBUTARY_ADMIN_KEY: adminKey,
      LOG_LEVEL: "error",
      POOL_SIZE: "5",
      DRAIN_TIMEOUT_MS: "5000",
    }),
  );
  const id = await newWorkflow(server.acme);
  const client = createTributaryClient({
    baseUrl: [leaving.url, server.url],
    credential: server.acme.key,
    resilience: quick,
  });
  const reasons: unknown[] = [];
  const offsets: bigint[] = [];
  const reading = (async () => {
    for await (const item of client.follow(id)) {
      if (item.kind === "events") offsets.push(...item.events.map(({ offset }) => offset));
      if (item.kind === "interrupted") reasons.push(item.reason);
    }
  })();
  const session = client.openSession({ workflowId: id });
  const task = session.task("t");
  for (let i = 0; i < 50; i++) await task.token(`${i}`);
  await session.flush();
  const closing = leaving.close();
  for (let i = 50; i < 100; i++) {
    await task.token(`${i}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await closing;
  await session.close();
  await server.acme.workflows.closeWorkflow({ workflowId: id, status: WorkflowStatus.COMPLETED });
  await reading;
  expect(offsets).toEqual(Array.from({ length: 102 }, (_, at) => BigInt(at + 1)));
  expect(reasons).toEqual([expect.objectContaining({ reason: ClosingReason.DRAINING })]);
  const events = await readAll(server.acme, id);
  expect(events.slice(1, -1).map(({ payload }) => payload.value)).toEqual(
    Array.from({ length: 100 }, (_, i) => `${i}`),
  );
  client.close();
}, 30_000);

describe("a credential that is a function", () => {
  test("is asked again when its answer was refused, for calls, streams and sessions, and only once", async () => {
    const id = await newWorkflow(server.acme);
    const asked: boolean[] = [];
    let good = true;
    const client = createTributaryClient({
      baseUrl: server.url,
      credential: ({ refused }) => {
        asked.push(refused);
        return good && refused ? server.acme.key : "trib_expired";
      },
      resilience: quick,
    });
    await client.workflows.getWorkflow({ workflowId: id });
    expect(asked).toEqual([false, true]);
    const { values } = await client.follow(id).collect({ limit: 1 });
    expect(values.length).toBe(1);
    const session = client.openSession({ workflowId: id });
    await session.write({ taskExecutionId: "t", type: 1 });
    await session.close();
    expect((await readAll(server.acme, id)).length).toBe(2);

    good = false;
    asked.length = 0;
    await expect(client.workflows.getWorkflow({ workflowId: id })).rejects.toMatchObject({
      code: Code.Unauthenticated,
    });
    await expect(client.follow(id).next()).resolves.toMatchObject({ value: { kind: "interrupted" } });
    await expect(client.openSession({ workflowId: id }).opened).rejects.toThrow(/unauthenticated/);
    client.close();
  });

  test("that takes its time to get another one serves all streams that wait for it", async () => {
    const id = await newWorkflow(server.acme);
    let current = "trib_expired";
    let renewals = 0;
    const client = createTributaryClient({
      baseUrl: server.url,
      async credential({ refused }) {
        if (!refused) return current;
        renewals += 1;
        await new Promise((resolve) => setTimeout(resolve, 50));
        current = server.acme.key;
        return current;
      },
      resilience: quick,
    });
    const found = await Promise.all(
      Array.from({ length: 10 }, () => client.follow(id).collect({ limit: 1 })),
    );
    expect(found.map(({ outcome }) => outcome)).toEqual(found.map(() => "full"));
    expect(renewals).toBeLessThan(5);
    client.close();
  });

  test("that is fixed is not tried again", async () => {
    const client = createTributaryClient({ baseUrl: server.url, credential: "trib_wrong" });
    await expect(client.follow(workflowId).next()).rejects.toMatchObject({ code: Code.Unauthenticated });
    client.close();
  });
});
