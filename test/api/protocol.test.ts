import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import { create, toBinary, toJsonString } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { v7 as uuidv7 } from "uuid";
import { describe, expect, test } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { AckLevel, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { StreamWorkflowRequestSchema } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import {
  PublishTaskEventsRequestSchema,
  StreamTaskDataRequestSchema,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { CreateWorkflowRequestSchema } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { type Clients, useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { textOf } from "./subscription.ts";
import { newWorkflow, publish, readAll, repeat, token } from "./trees.ts";

const server = useServer({ CORS_ORIGINS: "https://app.example" });
const mib = 1024 * 1024;

interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
  trailers: Record<string, string | string[] | undefined>;
}
interface Request {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
}

async function overHttp1(
  path: string,
  { method = "POST", headers = {}, body }: Request = {},
): Promise<Answer> {
  const request = http.request(`${server.url}${path}`, { method, headers, agent: false });
  request.on("error", () => {}); // the server may answer before all was sent
  request.end(body);
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const { statusCode = 0, trailers } = response;
  return { status: statusCode, headers: response.headers, body: Buffer.concat(chunks), trailers };
}

async function overHttp2(
  path: string,
  { method = "POST", headers = {}, body }: Request = {},
): Promise<Answer> {
  const session = http2.connect(server.url);
  session.on("error", () => {});
  try {
    const stream = session.request({ ":method": method, ":path": path, ...headers });
    let trailers: Answer["trailers"] = {};
    stream.on("trailers", (given) => {
      trailers = given;
    });
    stream.end(body);
    const [response] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    return { status: Number(response[":status"]), headers: response, body: Buffer.concat(chunks), trailers };
  } finally {
    session.destroy();
  }
}
const versions: [string, typeof overHttp1][] = [
  ["HTTP/1.1", overHttp1],
  ["HTTP/2", overHttp2],
];

const authorization = () => ({ authorization: `Bearer ${server.acme.key}` });
const json = () => ({ ...authorization(), "content-type": "application/json" });
const rpc = (method: string) => `/tributary.v1.${method}`;
const createPath = rpc("WorkflowService/CreateWorkflow");
const parsed = ({ body }: Answer) => JSON.parse(body.toString() || "null");

/** A gRPC or Connect frame. */
function frame(message: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Does what a server that was harmed could not do. */
async function stillWorks(): Promise<void> {
  const id = await newWorkflow(server.acme);
  await publish(server.acme, [token(id, "works")]);
  expect((await readAll(server.acme, id)).map(textOf)[1]).toBe("works");
}

describe.each(versions)("over %s", (_version, send) => {
  test("plain JSON calls work as with curl", async () => {
    const made = await send(createPath, {
      headers: json(),
      body: '{"name": "by hand", "metadata": {"a": "b"}}',
    });
    expect(made.status).toBe(200);
    expect(made.headers["content-type"]).toMatch(/^application\/json/);
    const { workflow } = parsed(made);
    expect(workflow).toMatchObject({
      name: "by hand",
      status: "WORKFLOW_STATUS_RUNNING",
      metadata: { a: "b" },
      createdMs: expect.stringMatching(/^[0-9]+$/),
    });
    const stored = await send(rpc("TaskStreamService/StreamTaskData"), {
      headers: json(),
      body: JSON.stringify({
        taskExecutionId: "t",
        workflow_execution_id: workflow.workflowId,
        type: "EVENT_TYPE_TOKEN",
        payload: "a\0\u{1F680}",
        waitForDurable: true,
      }),
    });
    expect(parsed(stored)).toMatchObject({ acknowledged: true, level: "ACK_LEVEL_DURABLE", offset: "2" });
    const read = await send(rpc("EventStreamService/ReadEvents"), {
      headers: json(),
      body: JSON.stringify({ workflowId: workflow.workflowId, cursor: 1 }),
    });
    expect(parsed(read)).toMatchObject({ events: [{ offset: "2", text: "a\0\u{1F680}" }], tailOffset: "2" });
  });

  test("a stream can be read with JSON frames", async () => {
    const workflowId = await newWorkflow(server.acme);
    await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    const answer = await send(rpc("EventStreamService/StreamWorkflow"), {
      headers: { ...authorization(), "content-type": "application/connect+json" },
      body: frame(Buffer.from(JSON.stringify({ workflowId }))),
    });
    expect(answer.status).toBe(200);
    const frames: { flags: number; message: Record<string, Record<string, unknown>> }[] = [];
    for (let at = 0; at < answer.body.length; ) {
      const length = answer.body.readUInt32BE(at + 1);
      frames.push({
        flags: answer.body.readUInt8(at),
        message: JSON.parse(answer.body.subarray(at + 5, at + 5 + length).toString()),
      });
      at += 5 + length;
    }
    const last = frames.pop();
    expect(last?.flags).toBe(2);
    expect(last?.message).not.toHaveProperty("error");
    expect(frames.map(({ message }) => Object.keys(message["message"] ?? {})[0])).toEqual([
      "opened",
      ...Array(frames.length - 2).fill("events"),
      "ended",
    ]);
  });

  test("errors are JSON with their code, what was wrong and what was found", async () => {
    const id = uuidv7();
    for (const [method, body, status, code, text] of [
      ["WorkflowService/GetWorkflow", { workflowId: id }, 404, "not_found", id],
      ["WorkflowService/GetWorkflow", { workflowId: "nonsense" }, 400, "invalid_argument", "workflow_id"],
      ["WorkflowService/CreateWorkflow", { name: "" }, 400, "invalid_argument", "name"],
    ] as const) {
      const answer = await send(rpc(method), { headers: json(), body: JSON.stringify(body) });
      expect(answer.status).toBe(status);
      expect(parsed(answer)).toMatchObject({ code, message: expect.stringContaining(text) });
    }
  });

  test("broken JSON, wrong types and broken protobuf are refused and harm nothing", async () => {
    for (const body of [
      "{",
      "",
      "nonsense",
      "[]",
      '"x"',
      '{"name": 5}',
      '{"name": "\xff',
      '{"name":"x"}}',
      "\0",
    ]) {
      const answer = await send(createPath, { headers: json(), body: Buffer.from(body, "latin1") });
      // An empty body is no JSON, but some servers take it for an empty message, whose name is then missing.
      expect(answer.status, JSON.stringify(body)).toBe(400);
      expect(parsed(answer).code).toBe("invalid_argument");
    }
    for (const bytes of [
      [0xff, 0xff, 0xff],
      [0x1a, 0x7f, 1],
      [0x1a, 1, 0xff],
    ]) {
      const answer = await send(createPath, {
        headers: { ...authorization(), "content-type": "application/proto" },
        body: Uint8Array.from(bytes),
      });
      // gRPC's list of codes has INTERNAL for "error parsing request proto".
      expect(["invalid_argument", "internal"], `${bytes}`).toContain(parsed(answer).code);
    }
    await stillWorks();
  });

  test("half a surrogate pair in JSON harms nothing", async () => {
    const id = await newWorkflow(server.acme);
    const answer = await send(rpc("TaskStreamService/StreamTaskData"), {
      headers: json(),
      body: `{"workflowExecutionId":"${id}","taskExecutionId":"t\\ud800","type":1,"payload":"\\ud800","waitForDurable":true}`,
    });
    expect([200, 400]).toContain(answer.status);
    expect((await readAll(server.acme, id)).length).toBe(answer.status === 200 ? 2 : 1);
    await stillWorks();
  });

  test("unknown routes are 404, unknown methods of a service too", async () => {
    for (const path of [
      "/nonsense",
      "/api",
      "/api/tenants",
      rpc("WorkflowService/Nonsense"),
      rpc("NonsenseService/GetWorkflow"),
      "/tributary.v1.WorkflowService",
      "/tributary.v1.WorkflowService/",
      "/tributary.v1.WorkflowService/GetWorkflow/x",
      "/../etc/passwd",
      "/%2e%2e/%2e%2e/etc/passwd",
      "/%",
      "//",
    ]) {
      const answer = await send(path, { headers: json(), body: "{}" });
      expect([404], path).toContain(answer.status);
    }
    for (const path of ["/nonsense", "/favicon.ico", "/%00"]) {
      expect((await send(path, { method: "GET" })).status, path).toBe(404);
    }
  });

  test("calls are POST", async () => {
    for (const method of ["GET", "PUT", "DELETE", "PATCH"]) {
      const answer = await send(createPath, { method, headers: json() });
      expect([405, 415], method).toContain(answer.status);
    }
    await stillWorks();
  });

  test("unknown content types are 415", async () => {
    for (const type of [
      "text/plain",
      "application/xml",
      "application/x-www-form-urlencoded",
      "application/json5",
    ]) {
      const answer = await send(createPath, {
        headers: { ...authorization(), "content-type": type },
        body: '{"name":"x"}',
      });
      expect(answer.status, type).toBe(415);
    }
    expect((await send(createPath, { headers: authorization(), body: '{"name":"x"}' })).status).toBe(415);
  });

  test("a compression that is not known is UNIMPLEMENTED, one that is known is taken", async () => {
    const unknown = await send(createPath, {
      headers: { ...json(), "content-encoding": "nonsense" },
      body: '{"name":"x"}',
    });
    expect(parsed(unknown).code).toBe("unimplemented");
  });

  test("no message over 4 MiB is taken, on any kind of call", async () => {
    const id = await newWorkflow(server.acme);
    const event = { workflowExecutionId: id, taskExecutionId: "t", type: EventType.TOKEN };
    const large = create(StreamTaskDataRequestSchema, { ...event, payload: "x".repeat(4 * mib + 1) });
    const path = rpc("TaskStreamService/StreamTaskData");
    const unary: [string, string | Uint8Array][] = [
      ["application/json", toJsonString(StreamTaskDataRequestSchema, large)],
      ["application/proto", toBinary(StreamTaskDataRequestSchema, large)],
    ];
    for (const [type, body] of unary) {
      const answer = await send(path, { headers: { ...authorization(), "content-type": type }, body });
      expect(answer.status, type).toBe(429);
      expect(parsed(answer).code).toBe("resource_exhausted");
    }
    const events = repeat(5, () => token(id, "x".repeat(mib)));
    const message = toBinary(
      PublishTaskEventsRequestSchema,
      create(PublishTaskEventsRequestSchema, { events }),
    );
    const stream = await send(rpc("TaskStreamService/PublishTaskEvents"), {
      headers: { ...authorization(), "content-type": "application/connect+proto" },
      body: frame(message),
    });
    expect(stream.body.toString()).toContain("resource_exhausted");
    // A frame that only says it is large.
    const head = Buffer.alloc(5);
    head.writeUInt32BE(0xffffffff, 1);
    const claimed = await send(rpc("TaskStreamService/PublishTaskEvents"), {
      headers: { ...authorization(), "content-type": "application/connect+proto" },
      body: Buffer.concat([head, Buffer.from("x")]),
    });
    expect(claimed.body.toString()).toMatch(/resource_exhausted|invalid_argument/);
    expect(await readAll(server.acme, id)).toHaveLength(1);
  });

  test("a truncated frame is an error and stores nothing of it", async () => {
    const id = await newWorkflow(server.acme);
    const message = (text: string) =>
      frame(
        toBinary(
          PublishTaskEventsRequestSchema,
          create(PublishTaskEventsRequestSchema, { events: [token(id, text)] }),
        ),
      );
    for (const cut of [1, 4, 6, 20]) {
      const answer = await send(rpc("TaskStreamService/PublishTaskEvents"), {
        headers: { ...authorization(), "content-type": "application/connect+proto" },
        body: message("cut").subarray(0, cut),
      });
      expect(answer.body.toString(), `cut at ${cut}`).toMatch(/"code":"(invalid_argument|data_loss)"/);
    }
    await send(rpc("TaskStreamService/PublishTaskEvents"), {
      headers: { ...authorization(), "content-type": "application/connect+proto" },
      body: Buffer.concat([message("whole"), message("cut").subarray(0, 20)]),
    });
    expect((await readAll(server.acme, id)).map(textOf).slice(1)).not.toContain("cut");
    await stillWorks();
  });

  test("a bad deadline is INVALID_ARGUMENT, and one that passes ends a stream with its code, not with OK", async () => {
    const headers = (ms: string) => ({ ...json(), "connect-timeout-ms": ms });
    const workflowId = await newWorkflow(server.acme);
    const bad = await send(createPath, { headers: headers("nonsense"), body: '{"name":"x"}' });
    expect(parsed(bad).code).toBe("invalid_argument");
    const stream = await send(rpc("EventStreamService/StreamWorkflow"), {
      headers: { ...headers("300"), "content-type": "application/connect+json" },
      body: frame(Buffer.from(JSON.stringify({ workflowId }))),
    });
    expect(stream.body.toString()).toContain("deadline_exceeded");
  });

  test("alive and ready", async () => {
    for (const path of ["/healthz", "/readyz"]) {
      expect((await send(path, { method: "GET" })).status, path).toBe(200);
      const head = await send(path, { method: "HEAD" });
      expect([200, 405], path).toContain(head.status);
      expect(head.body).toHaveLength(0);
      expect((await send(path, { method: "POST", body: "x" })).status, path).toBe(405);
    }
  });

  test("the health service answers without a credential", async () => {
    const check = (body: unknown) =>
      send("/grpc.health.v1.Health/Check", {
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
    expect(parsed(await check({}))).toEqual({ status: "SERVING" });
    expect(parsed(await check({ service: "tributary.v1.WorkflowService" }))).toEqual({ status: "SERVING" });
    expect(parsed(await check({ service: "nonsense" }))).toMatchObject({ code: "not_found" });
  });

  test("pages of the allowed origin may call, those of others may not", async () => {
    const preflight = (origin: string, path = createPath) =>
      send(path, {
        method: "OPTIONS",
        headers: {
          origin,
          "access-control-request-method": "POST",
          "access-control-request-headers":
            "authorization,content-type,connect-protocol-version,x-grpc-web,x-user-agent",
        },
      });
    const allowed = await preflight("https://app.example");
    expect([200, 204]).toContain(allowed.status);
    expect(allowed.headers["access-control-allow-origin"]).toBe("https://app.example");
    expect(allowed.headers["access-control-allow-methods"]).toContain("POST");
    const granted = `${allowed.headers["access-control-allow-headers"]}`.toLowerCase();
    for (const name of ["authorization", "content-type", "connect-protocol-version", "x-grpc-web"]) {
      expect(granted).toContain(name);
    }
    const streamPath = `/api/tenants/acme/stream/workflows/${uuidv7()}`;
    const sse = await send(streamPath, {
      method: "OPTIONS",
      headers: {
        origin: "https://app.example",
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization,last-event-id",
      },
    });
    expect(sse.headers["access-control-allow-origin"]).toBe("https://app.example");
    expect(`${sse.headers["access-control-allow-headers"]}`.toLowerCase()).toContain("last-event-id");

    for (const origin of [
      "https://evil.example",
      "http://app.example",
      "https://app.example:8443",
      "https://app.example.evil.example",
      "https://xapp.example",
      "null",
    ]) {
      for (const path of [createPath, streamPath]) {
        const refused = await preflight(origin, path);
        expect(refused.headers["access-control-allow-origin"], origin).toBeUndefined();
      }
    }
    const call = (origin: string) =>
      send(createPath, { headers: { ...json(), origin }, body: '{"name":"from a page"}' });
    const answer = await call("https://app.example");
    expect(answer.status).toBe(200);
    expect(answer.headers["access-control-allow-origin"]).toBe("https://app.example");
    expect(`${answer.headers.vary}`.toLowerCase()).toContain("origin");
    const exposed = `${answer.headers["access-control-expose-headers"]}`.toLowerCase();
    for (const name of ["grpc-status", "grpc-message", "grpc-status-details-bin"])
      expect(exposed).toContain(name);
    expect((await call("https://evil.example")).headers["access-control-allow-origin"]).toBeUndefined();
    // Errors and streams too, so that the page sees what was wrong.
    const denied = await send(streamPath, { method: "GET", headers: { origin: "https://app.example" } });
    expect(denied.status).toBe(401);
    expect(denied.headers["access-control-allow-origin"]).toBe("https://app.example");
  });
});

test("a truncated gRPC frame, none, or two for a unary call are errors and make nothing", async () => {
  const headers = { ...authorization(), "content-type": "application/grpc", te: "trailers" };
  const name = `never ${uuidv7()}`;
  const message = frame(toBinary(CreateWorkflowRequestSchema, create(CreateWorkflowRequestSchema, { name })));
  for (const body of [
    Buffer.alloc(0),
    message.subarray(0, 3),
    message.subarray(0, 5),
    message.subarray(0, -1),
    Buffer.concat([message, message]),
  ]) {
    const { headers: head, trailers, status } = await overHttp2(createPath, { headers, body });
    expect(status).toBe(200);
    const code = Number(trailers["grpc-status"] ?? head["grpc-status"]);
    expect([Code.InvalidArgument, Code.Unimplemented, Code.DataLoss], `${body.length} bytes`).toContain(code);
  }
  const { workflows } = await server.acme.workflows.listWorkflows({ nameContains: name });
  expect(workflows).toEqual([]);
  await stillWorks();
});

test("gRPC errors come with their code and a message, a deadline with its own", async () => {
  const headers = { ...authorization(), "content-type": "application/grpc", te: "trailers" };
  const empty = await overHttp2(rpc("WorkflowService/GetWorkflow"), {
    headers,
    body: frame(new Uint8Array()),
  });
  expect({ ...empty.headers, ...empty.trailers }).toMatchObject({
    "grpc-status": `${Code.InvalidArgument}`,
    // Readable for clients that undo only what a whole URL would escape.
    "grpc-message": expect.stringContaining(", found "),
  });
  const workflowId = await newWorkflow(server.acme);
  const message = toBinary(StreamWorkflowRequestSchema, create(StreamWorkflowRequestSchema, { workflowId }));
  const late = await overHttp2(rpc("EventStreamService/StreamWorkflow"), {
    headers: { ...headers, "grpc-timeout": "300m" },
    body: frame(message),
  });
  expect({ ...late.headers, ...late.trailers }).toMatchObject({ "grpc-status": `${Code.DeadlineExceeded}` });
});

test("clients that hang up in the middle of a call harm nothing", async () => {
  const id = await newWorkflow(server.acme);
  for (let round = 0; round < 20; round += 1) {
    const session = http2.connect(server.url);
    session.on("error", () => {});
    const stream = session.request({
      ":method": "POST",
      ":path": rpc("TaskStreamService/PublishTaskEvents"),
      ...authorization(),
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", () => {});
    const message = create(PublishTaskEventsRequestSchema, { events: [token(id, `${round}`)] });
    stream.write(frame(toBinary(PublishTaskEventsRequestSchema, message)));
    await once(session, "remoteSettings");
    session.destroy();
  }
  await stillWorks();
});

/** While it is held nobody can write, but read: every table is locked against writers. */
async function holdWriters(): Promise<AsyncDisposable> {
  const client = await server.pool.connect();
  await client.query("begin");
  const { rows } = await client.query<{ name: string }>(
    "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
  );
  await client.query(`lock table ${rows.map(({ name }) => name).join(", ")} in exclusive mode`);
  return {
    async [Symbol.asyncDispose]() {
      await client.query("rollback");
      client.release();
    },
  };
}

test("a full queue is RESOURCE_EXHAUSTED with RetryInfo, and all that was acknowledged is stored", async () => {
  const id = await newWorkflow(server.acme);
  // Some connections, because one of them is not meant for 100 MiB at once.
  const clients = repeat(25, () => server.clients(server.acme.key));
  const send = ({ tasks }: Clients, payload: string) =>
    tasks.streamTaskData({
      workflowExecutionId: id,
      taskExecutionId: "t",
      type: EventType.TOKEN,
      payload,
    });
  await send(server.acme, "first");
  const results: Promise<ConnectError | undefined>[] = [];
  {
    await using _ = await holdWriters();
    // A lane holds 64 MiB.
    for (const client of [...clients, ...clients, ...clients, ...clients]) {
      results.push(
        send(client, "x".repeat(mib)).then(
          () => undefined,
          (error: unknown) => ConnectError.from(error),
        ),
      );
    }
    const refused = await Promise.race(
      results.map(async (result) => (await result) ?? new Promise(() => {})),
    );
    expect(refused).toMatchObject({ code: Code.ResourceExhausted });
  }
  const refused = (await Promise.all(results)).filter((error) => error !== undefined);
  for (const error of refused) {
    expect(error.code).toBe(Code.ResourceExhausted);
    const [retry] = error.findDetails(RetryInfoSchema);
    const { seconds = 0n, nanos = 0 } = retry?.retryDelay ?? {};
    expect(Number(seconds) * 1e9 + nanos).toBeGreaterThan(0);
  }
  expect(refused.length).toBeLessThan(100);
  // The lane may still be full of what was accepted.
  const { offset } = await until(() =>
    server.acme.workflows.closeWorkflow({ workflowId: id, status: WorkflowStatus.COMPLETED }),
  );
  expect(offset).toBe(BigInt(3 + 100 - refused.length));
});

test("an event is acknowledged as accepted when it is queued, though it cannot be stored yet", async () => {
  const id = await newWorkflow(server.acme);
  const send = () =>
    server.acme.tasks.streamTaskData({
      workflowExecutionId: id,
      taskExecutionId: "t",
      type: EventType.TOKEN,
    });
  await send(); // the server knows the workflow and the task
  await publish(server.acme, [token(id, "")]);
  {
    await using _ = await holdWriters();
    expect(await send()).toMatchObject({ level: AckLevel.ACCEPTED, offset: 0n });
  }
  await until(async () => expect(await readAll(server.acme, id)).toHaveLength(4));
});
