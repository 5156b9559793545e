/** A receiver of traces that is away, slow or gone costs spans and nothing else; and what is sent to it is what the settings say. */
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { readConfig } from "../../server/config.ts";
import { startServer } from "../../server/main.ts";
import { openTracing } from "../../server/tracing/exporter.ts";
import { createTestDatabase, type TestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { LogLines } from "../support/log-lines.ts";
import { OtlpReceiver } from "../support/otlp-receiver.ts";
import { adminKey, createClients, createTenant, disconnectClients } from "../support/server.ts";
import { until } from "../support/until.ts";

let receiver: OtlpReceiver;
let database: TestDatabase;
beforeEach(async () => {
  receiver = await OtlpReceiver.open();
  database = await createTestDatabase(inject("clusterUrl"), { template });
});
afterEach(() => receiver.close());

async function start(more: Readonly<Record<string, string>> = {}) {
  const log = new LogLines();
  const config = readConfig({
    DATABASE_URL: database.url,
    PORT: "0",
    TRIBUTARY_ADMIN_KEY: adminKey,
    POOL_SIZE: "3",
    DRAIN_TIMEOUT_MS: "5000",
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    ...more,
  });
  const server = await startServer(config, { logTo: log });
  const acme = await createTenant(createClients(server.url, adminKey), "acme");
  const call = () => acme.workflows.listWorkflows({});
  const close = async () => {
    disconnectClients(server.url);
    await server.close();
  };
  return { server, log, call, close };
}

const listed = () => receiver.named("tributary.v1.WorkflowService/ListWorkflows").length;

test("a stop sends the spans that wait", async () => {
  const { call, close } = await start();
  for (let i = 0; i < 20; i++) await call();
  await close();
  expect(listed()).toBe(20);
});

test("a receiver that refuses costs spans: calls are answered, one warning says so, and one line that it is over", async () => {
  receiver.mood = "refuses";
  const { log, call, close } = await start();
  const said = (text: RegExp) => log.lines.filter(({ msg }) => text.test(String(msg))).length;
  for (let requests = 1; requests <= 3; requests++) {
    await call();
    await until(() => expect(receiver.requests.length).toBeGreaterThanOrEqual(requests));
  }
  await until(() => expect(said(/does not take them/)).toBe(1));
  receiver.mood = "well";
  await call();
  await until(() => expect(said(/answers again; \d+ spans were lost/)).toBe(1));
  expect(said(/does not take them/)).toBe(1);
  await close();
});

function openAt(endpoint: string) {
  const said: string[] = [];
  const running = openTracing({
    endpoint,
    headers: {},
    serviceName: "tributary",
    instanceId: "1",
    ratio: 1,
    onTrouble: (message) => said.push(message),
    onWell: (message) => said.push(message),
  });
  const commits = (count: number) => {
    for (let i = 0; i < count; i++) {
      running.tracing
        .commit({ commands: 1, streams: 1, entries: i, bytes: 1, waitedMs: 0, calls: [] })
        .end(undefined);
    }
  };
  return { ...running, said, commits };
}

test("a receiver that never answers does not hold up a stop for longer than it may, and what waits for it is bounded", async () => {
  receiver.mood = "silent";
  const { commits, close, said } = openAt(receiver.url);
  commits(20_000);
  await until(() => expect(receiver.requests.length).toBeGreaterThan(0));
  commits(20_000);
  const beganMs = performance.now();
  await close(300);
  expect(performance.now() - beganMs).toBeLessThan(1500);
  // Of 40,000 at most those that were on their way and those that waited.
  await until(() => expect(receiver.requests.length).toBeGreaterThan(1));
  expect(receiver.requests.length).toBeLessThanOrEqual(1 + 4096 / 512);
  await until(() => expect(said.length).toBe(1));
});

test("of a receiver that is not there one warning is said, however many spans there are", async () => {
  const { url } = receiver;
  await receiver.close();
  const { commits, close, said } = openAt(url);
  commits(2000);
  await until(() => expect(said.length).toBe(1), 15_000);
  commits(2000);
  await close(500);
  receiver = await OtlpReceiver.open();
  expect(said.length).toBe(1);
});

test("what the environment says to the exporter itself does not count", async () => {
  const others = {
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://127.0.0.1:9/elsewhere",
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9/elsewhere",
    OTEL_EXPORTER_OTLP_COMPRESSION: "gzip",
    OTEL_EXPORTER_OTLP_TIMEOUT: "1",
    OTEL_EXPORTER_OTLP_CERTIFICATE: "/nonexistent",
    OTEL_TRACES_SAMPLER: "always_off",
    OTEL_RESOURCE_ATTRIBUTES: "service.name=other",
    OTEL_BSP_MAX_QUEUE_SIZE: "1",
    OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT: "1",
    OTEL_SDK_DISABLED: "true",
  };
  const before = { ...process.env };
  Object.assign(process.env, others);
  try {
    const { call, close } = await start({ OTEL_SERVICE_NAME: "mine" });
    for (let i = 0; i < 20; i++) await call();
    await close();
    expect(listed()).toBe(20);
    const [span] = receiver.named("tributary.v1.WorkflowService/ListWorkflows");
    expect(span?.service).toBe("mine");
    expect(Object.keys(span?.attributes ?? {}).length).toBeGreaterThan(5);
    expect(receiver.requests.map(({ path }) => path)).toContain("/v1/traces");
    expect(receiver.requests[0]?.headers["content-encoding"]).toBeUndefined();
  } finally {
    for (const name of Object.keys(others)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
});

test("with a ratio of 0 only the traces that callers began are sampled", async () => {
  const { server, call, close } = await start({ OTEL_TRACES_SAMPLER_ARG: "0" });
  await call();
  const traced = await fetch(`${server.url}/tributary.v1.WorkflowService/ListWorkflows`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      connection: "close",
    },
    body: "{}",
  });
  expect(traced.status).toBe(401);
  await close();
  expect(receiver.spans.map(({ traceId }) => traceId)).toEqual(["4bf92f3577b34da6a3ce929d0e0e4736"]);
});
