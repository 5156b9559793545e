/** A receiver of traces that is away, slow or gone costs spans and nothing else; and what is sent to it is what the settings say. */
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { readConfig } from "../../server/config.ts";
import { startServer } from "../../server/main.ts";
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

test("a receiver that never answers holds up neither calls nor a stop, and what waits for it is bounded", async () => {
  receiver.mood = "silent";
  const { call, close } = await start();
  await call();
  await until(() => expect(receiver.requests.length).toBe(1));
  const calls = 6000; // more than wait
  for (let i = 0; i < calls; i += 100) await Promise.all(Array.from({ length: 100 }, call));
  receiver.mood = "well";
  const beganMs = performance.now();
  await close();
  expect(performance.now() - beganMs).toBeLessThan(4500);
  expect(listed()).toBeGreaterThan(0);
  expect(listed()).toBeLessThanOrEqual(4096);
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
