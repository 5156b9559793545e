/** One line a call, whatever it came by, and never a secret in any line, whatever clients do. */
import { randomUUID } from "node:crypto";
import { createClient, type Interceptor } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { createTributaryClient, EventType } from "../../client/index.ts";
import { Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { TaskStreamService } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { readConfig } from "../../server/config.ts";
import { type RunningServer, startServer } from "../../server/main.ts";
import { newWorkflow, token } from "../api/trees.ts";
import { createTestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { type LogLine, LogLines } from "../support/log-lines.ts";
import { adminKey, type Clients, createClients, createTenant, disconnectClients } from "../support/server.ts";
import { until } from "../support/until.ts";
import { setVariable } from "../support/variable-call.ts";

const log = new LogLines();
let server: RunningServer;
let admin: Clients;
let acme: Clients;

beforeAll(async () => {
  const database = await createTestDatabase(inject("clusterUrl"), { template });
  const config = readConfig({
    DATABASE_URL: database.url,
    PORT: "0",
    TRIBUTARY_ADMIN_KEY: adminKey,
    LOG_LEVEL: "trace",
    POOL_SIZE: "3",
    DRAIN_TIMEOUT_MS: "2000",
  });
  server = await startServer(config, { logTo: log });
  admin = createClients(server.url, adminKey);
  acme = await createTenant(admin, "acme");
});
afterAll(async () => {
  disconnectClients(server.url);
  await server.close();
});

/** The line of the call with this request id, when it has ended. */
const lineOf = (requestId: string): Promise<LogLine> =>
  until(
    () => log.calls.find((line) => line["requestId"] === requestId) ?? expect.fail(`no line ${requestId}`),
  );

const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(`${server.url}${path}`, { headers: { connection: "close", ...headers } });
const rpc = (method: string, body: string, headers: Record<string, string> = {}) =>
  fetch(`${server.url}/tributary.v1.${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", connection: "close", ...headers },
    body,
  });

test.each([
  ["what follows an RPC", "/tributary.v1.WorkflowService/ListWorkflows/tri_secret"],
  ["an unknown method", "/tributary.v1.WorkflowService/tri_secret"],
  ["a page", "/tri_secret"],
])("the line of a call names RPCs that there are and no text of the caller's: %s", async (_, path) => {
  const requestId = `path-${randomUUID()}`;
  await fetch(`${server.url}${path}`, {
    method: "POST",
    headers: { "x-request-id": requestId, connection: "close" },
  });
  expect((await lineOf(requestId))["method"]).toBe("POST (no route)");
});

describe("the request id", () => {
  test("of the caller is answered and logged", async () => {
    const requestId = `mine-${randomUUID()}`;
    const answer = await rpc("WorkflowService/ListWorkflows", "{}", { "x-request-id": requestId });
    expect(answer.headers.get("x-request-id")).toBe(requestId);
    expect(await lineOf(requestId)).toMatchObject({
      method: "tributary.v1.WorkflowService/ListWorkflows",
      protocol: "connect",
      code: "unauthenticated",
      credential: "none",
      peer: "127.0.0.1",
    });
  });

  test.each([["x".repeat(65)], ["with space"], ["trib_a-key-by-mistake"], [""]])(
    "%j is replaced by one of the server's",
    async (given) => {
      const answer = await get("/healthz", { "x-request-id": given });
      const requestId = answer.headers.get("x-request-id") ?? "";
      expect(requestId).toMatch(/^[0-9a-f]{16}-[0-9a-z]+$/);
      expect(await lineOf(requestId)).toMatchObject({ method: "GET /healthz", level: 20, code: "ok" });
    },
  );
});

describe("over each protocol a call has its line, with its code and its messages", () => {
  const options = (requestId: string) => {
    const identify: Interceptor = (next) => (request) => {
      request.header.set("authorization", `Bearer ${acme.key}`);
      request.header.set("x-request-id", requestId);
      return next(request);
    };
    return { baseUrl: server.url, interceptors: [identify] };
  };
  const protocols = {
    grpc: (id: string) => createGrpcTransport(options(id)),
    "grpc-web": (id: string) => createGrpcWebTransport({ ...options(id), httpVersion: "1.1" }),
    connect: (id: string) => createConnectTransport({ ...options(id), httpVersion: "1.1" }),
  };

  test.each(Object.entries(protocols))("%s", async (protocol, open) => {
    const workflowId = await newWorkflow(acme);
    const ids = { write: randomUUID(), read: randomUUID(), missing: randomUUID(), broken: randomUUID() };
    const tasks = createClient(TaskStreamService, open(ids.write));
    await tasks.publishTaskEvents(
      (async function* () {
        yield { events: [token(workflowId, "a")] };
        yield { events: [token(workflowId, "b")] };
      })(),
    );
    const common = { protocol, tenant: "acme", credential: "key", keyId: expect.any(String), level: 30 };
    expect(await lineOf(ids.write)).toMatchObject({
      ...common,
      method: "tributary.v1.TaskStreamService/PublishTaskEvents",
      code: "ok",
      in: 2,
    });
    await acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    let messages = 0;
    const read = createClient(EventStreamService, open(ids.read));
    for await (const _ of read.streamWorkflow({ workflowId })) messages++;
    expect(await lineOf(ids.read)).toMatchObject({ ...common, code: "ok", in: 1, out: messages });
    const missing = createClient(EventStreamService, open(ids.missing)).streamWorkflow({
      workflowId: randomUUID(),
    });
    await expect(missing[Symbol.asyncIterator]().next()).rejects.toThrow();
    expect(await lineOf(ids.missing)).toMatchObject({ ...common, code: "not_found" });
  });

  test.each([
    ["application/grpc-web+proto", "grpc-web", "internal"],
    ["application/connect+proto", "connect", "internal"],
    ["application/connect+json", "connect", "invalid_argument"],
    ["application/json", "connect", "invalid_argument"],
    ["application/proto", "connect", "internal"],
  ])("a message of %s that cannot be read has the code that is answered", async (type, protocol, code) => {
    const requestId = randomUUID();
    const stream = !["application/json", "application/proto"].includes(type);
    const body = stream ? Buffer.from([0, 0, 0, 0, 2, 0xff, 0xff]) : Buffer.from([0xff, 0xff]);
    const answer = await fetch(
      `${server.url}/tributary.v1.${stream ? "EventStreamService/StreamWorkflow" : "WorkflowService/GetWorkflow"}`,
      {
        method: "POST",
        headers: {
          "content-type": type,
          "connect-protocol-version": "1",
          authorization: `Bearer ${acme.key}`,
          "x-request-id": requestId,
          connection: "close",
        },
        body,
      },
    );
    expect(await answer.text()).toMatch(protocol === "grpc-web" ? /grpc-status: 13/ : `"code":"${code}"`);
    expect(await lineOf(requestId)).toMatchObject({ protocol, tenant: "acme", code });
  });

  test("SSE", async () => {
    const workflowId = await newWorkflow(acme);
    await acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    const requestId = randomUUID();
    const path = `/api/tenants/acme/stream/workflows/${workflowId}`;
    const headers = { authorization: `Bearer ${acme.key}`, "x-request-id": requestId };
    const text = await (await get(path, headers)).text();
    expect(await lineOf(requestId)).toMatchObject({
      method: "GET /api/tenants/{tenant}/stream/workflows/{workflow}",
      protocol: "sse",
      code: "ok",
      tenant: "acme",
      out: 3, // opened, events, ended
    });
    expect(text).toContain("event: end");
  });

  test("a client that leaves is canceled", async () => {
    const workflowId = await newWorkflow(acme);
    const requestId = randomUUID();
    const leaving = new AbortController();
    const reading = acme.streams.streamWorkflow(
      { workflowId },
      { signal: leaving.signal, headers: { "x-request-id": requestId } },
    );
    for await (const message of reading) if (message) break;
    leaving.abort();
    expect(await lineOf(requestId)).toMatchObject({ code: "canceled", protocol: "grpc" });
    await acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
  });
});

test("whatever is called with secrets, right or wrong, no line of the log has one", async () => {
  const secrets = [
    "S3cret_in:a-payload",
    "S3cret_in/a-path",
    "s3cret-query",
    "s3cret-metadata",
    "s3cret-variable",
  ];
  const [payload = "", path = "", query = "", metadata = "", variable = ""] = secrets;
  const workflowId = await newWorkflow(acme);
  const { token: streamToken } = await acme.tokens.createStreamToken({ workflowIds: [workflowId] });
  const made = await admin.admin.createApiKey({ tenantSlug: "acme", roles: [Role.READ] });
  secrets.push(acme.key, adminKey, streamToken, made.key);
  const wrongKey = "trib_wrong-key-1234567890";
  secrets.push(wrongKey);
  const before = log.calls.length;

  await acme.tasks.streamTaskData({
    workflowExecutionId: workflowId,
    taskExecutionId: "t",
    type: EventType.TOKEN,
    payload,
    waitForDurable: true,
  });
  await acme.workflows.createWorkflow({ name: "w", metadata: { key: metadata } });
  await setVariable(acme, workflowId, "v", variable);
  const sdk = createTributaryClient({ baseUrl: server.url, credential: acme.key });
  await using session = sdk.openSession({ workflowId });
  await session.task("t").token(payload);
  await session.flush();
  // Wrong in all places where it hurts: refused, malformed, unknown, of the wrong verb, with a bug's text.
  const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });
  const sse = `/api/tenants/acme/stream/workflows/${workflowId}`;
  const answers = await Promise.all([
    get(`${sse}?access_token=${streamToken}&latest=true&idle_timeout_ms=1`),
    get(`${sse}?access_token=${acme.key}`),
    get(`${sse}?access_token=${wrongKey}&nonsense=${query}`),
    get(`/api/tenants/acme/stream/workflows/${path}`, bearer(acme.key)),
    get(`/${path}?access_token=${wrongKey}`),
    get(`/tributary.v1.${path}/Method`),
    get("/metrics", bearer(wrongKey)),
    rpc("WorkflowService/GetWorkflow", JSON.stringify({ workflowId: payload }), bearer(acme.key)),
    rpc("WorkflowService/GetWorkflow", `{"workflowId": "${payload}`, bearer(acme.key)),
    rpc("WorkflowService/GetWorkflow", "{}", bearer(wrongKey)),
    rpc("WorkflowService/GetWorkflow", "{}", { authorization: acme.key }),
    rpc("WorkflowService/GetWorkflow", "{}", { authorization: `Basic ${wrongKey}` }),
    rpc("TokenService/CreateStreamToken", JSON.stringify({ workflowIds: [payload] }), bearer(acme.key)),
    rpc("AdminService/CreateApiKey", JSON.stringify({ tenantSlug: path }), bearer(adminKey)),
    rpc("AdminService/RevokeApiKey", JSON.stringify({ apiKeyId: made.key }), bearer(adminKey)),
    rpc(
      "TaskStreamService/StreamTaskData",
      JSON.stringify({ workflowExecutionId: workflowId, taskExecutionId: "t", type: 99, payload }),
      bearer(acme.key),
    ),
  ]);
  await Promise.all(answers.map((answer) => answer.text()));
  await session.close();
  sdk.close();
  await acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
  await until(() => expect(log.calls.length - before).toBeGreaterThanOrEqual(answers.length + 5));
  for (const secret of secrets) expect(log.text).not.toContain(secret);
  // Nor in parts: what is after the prefix is the key as well.
  for (const secret of [acme.key, made.key]) expect(log.text).not.toContain(secret.slice(5, 25));
});
