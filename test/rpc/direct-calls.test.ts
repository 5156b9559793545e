/**
 * A call that is answered without Connect's layers is answered as Connect does it: each is made twice, once plain and once with
 * a query behind its path, which only Connect takes, and bytes, headers and trailers are compared. Which of the two answered
 * shows in the encoding that Connect offers for its answer, though it uses none.
 */
import { request as http1 } from "node:http";
import { connect as http2 } from "node:http2";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  StreamTaskRequestSchema,
  StreamWorkflowConsolidatedRequestSchema,
  StreamWorkflowRequestSchema,
} from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { StreamTaskDataRequestSchema } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { newWorkflow, publish, token } from "../api/trees.ts";
import { useServer } from "../support/server.ts";

const server = useServer();

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, unknown>>;
}

interface Way {
  readonly version: 1 | 2;
  readonly type: string;
  readonly accepts: string;
  /** Names the encoding that Connect would use; undefined: it does not say. */
  readonly offers: string | undefined;
  readonly more: Readonly<Record<string, string>>;
  /** Messages have no envelope. */
  readonly bare?: true;
}
const grpc = { accepts: "grpc-accept-encoding", offers: "grpc-encoding", more: { te: "trailers" } };
const connect = { more: { "connect-protocol-version": "1" } };
const stream = { ...connect, accepts: "connect-accept-encoding", offers: "connect-content-encoding" };
const unary = { ...connect, accepts: "accept-encoding", offers: undefined, bare: true } as const;
const ofGrpc: readonly (readonly [string, Way])[] = [
  ["gRPC", { ...grpc, version: 2, type: "application/grpc" }],
  ["gRPC, named", { ...grpc, version: 2, type: "application/grpc+proto" }],
  ["gRPC-Web, HTTP/2", { ...grpc, version: 2, type: "application/grpc-web+proto" }],
  ["gRPC-Web, HTTP/1.1", { ...grpc, version: 1, type: "application/grpc-web+proto" }],
];
const ofStreams: readonly (readonly [string, Way])[] = [
  ...ofGrpc,
  ["Connect, HTTP/2", { ...stream, version: 2, type: "application/connect+proto" }],
  ["Connect, HTTP/1.1", { ...stream, version: 1, type: "application/connect+proto" }],
];
const ofUnary: readonly (readonly [string, Way])[] = [
  ...ofGrpc,
  ["Connect, HTTP/2", { ...unary, version: 2, type: "application/proto" }],
  ["Connect, HTTP/1.1", { ...unary, version: 1, type: "application/proto" }],
];

const envelope = (message: Uint8Array, { flags = 0, size = message.byteLength } = {}) => {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(size, 1);
  return Buffer.concat([head, message]);
};

let ended = "";
let foreign = "";
let open = "";
beforeAll(async () => {
  ended = await newWorkflow(server.acme);
  foreign = await newWorkflow(server.globex);
  open = await newWorkflow(server.acme);
  await publish(server.acme, [token(ended, "one"), token(ended, "two ✓"), token(ended, "x".repeat(100_000))]);
  await server.acme.workflows.closeWorkflow({ workflowId: ended, status: WorkflowStatus.COMPLETED });
});

const workflow = (workflowId: string, options = {}) =>
  envelope(
    toBinary(StreamWorkflowRequestSchema, create(StreamWorkflowRequestSchema, { workflowId, options })),
  );

interface Case {
  readonly method?: string;
  readonly body: (way: Way) => Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  /** Connect answers the plain call too. */
  readonly isOdd?: true;
}

const cases: Readonly<Record<string, Case>> = {
  "a workflow that has ended": { body: () => workflow(ended) },
  "its tree": {
    method: "StreamWorkflowConsolidated",
    body: () =>
      envelope(
        toBinary(
          StreamWorkflowConsolidatedRequestSchema,
          create(StreamWorkflowConsolidatedRequestSchema, { workflowId: ended }),
        ),
      ),
  },
  "one of its tasks": {
    method: "StreamTask",
    body: () =>
      envelope(
        toBinary(
          StreamTaskRequestSchema,
          create(StreamTaskRequestSchema, { workflowId: ended, taskExecutionId: "t" }),
        ),
      ),
  },
  "the end of it": { body: () => workflow(ended, { start: { case: "afterOffset", value: 4n } }) },
  "an offset beyond the tail": {
    body: () => workflow(ended, { start: { case: "afterOffset", value: 99n } }),
  },
  "another epoch": { body: () => workflow(ended, { expectedEpoch: 77n }) },
  "an interval above the heartbeat": {
    body: () => workflow(ended, { minIntervalMs: 5000, heartbeatIntervalMs: 1000 }),
  },
  "a workflow that is not": { body: () => workflow("0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6") },
  "a foreign workflow": { body: () => workflow(foreign) },
  "no credential": { body: () => workflow(ended), headers: { authorization: "" } },
  "a wrong credential": { body: () => workflow(ended), headers: { authorization: "Bearer nonsense" } },
  "an id that is none": { body: () => workflow("nonsense"), isOdd: true },
  "no message": { body: () => Buffer.alloc(0), isOdd: true },
  "an empty message": { body: () => envelope(Buffer.alloc(0)), isOdd: true },
  "two messages": { body: () => Buffer.concat([workflow(ended), workflow(ended)]), isOdd: true },
  "half a message": { body: () => workflow(ended).subarray(0, 20), isOdd: true },
  "half an envelope": { body: () => workflow(ended).subarray(0, 3), isOdd: true },
  "bytes that are no message": { body: () => envelope(Buffer.from([0xff, 0xff, 0xff])), isOdd: true },
  "a compressed message without a compression": {
    body: () => envelope(Buffer.from("x"), { flags: 1 }),
    isOdd: true,
  },
  "an unknown flag": { body: () => envelope(workflow(ended).subarray(5), { flags: 2 }), isOdd: true },
  "fields that are not known": {
    // Field 99, 1000 bytes.
    body: () =>
      envelope(
        Buffer.concat([
          workflow(ended).subarray(5),
          Buffer.from([0x9a, 0x06, 0xe8, 0x07]),
          Buffer.alloc(1000),
        ]),
      ),
  },
  "a large message": {
    body: () =>
      envelope(
        Buffer.concat([
          workflow(ended).subarray(5),
          Buffer.from([0x9a, 0x06, 0x80, 0x89, 0x7a]),
          Buffer.alloc(2_000_000),
        ]),
      ),
    isOdd: true,
  },
  "more than may be sent": { body: () => envelope(Buffer.alloc(5_000_000)), isOdd: true },
};

const sessions = new Map<string, ReturnType<typeof http2>>();
afterAll(() => {
  for (const session of sessions.values()) session.close();
});

function overHttp2(headers: Record<string, string>, body: Buffer): Promise<Answer> {
  let session = sessions.get(server.url);
  if (session === undefined) {
    session = http2(server.url, { maxSessionMemory: 100 }); // else the client refuses its own large messages
    sessions.set(server.url, session);
  }
  const stream = session.request({ ":method": "POST", ...headers });
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let head: Record<string, unknown> = {};
    let trailers = {};
    stream.on("response", (found) => {
      head = { ...found };
    });
    stream.on("trailers", (found) => {
      trailers = { ...found };
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("end", () =>
      resolve({
        status: head[":status"] as number,
        headers: head,
        body: Buffer.concat(chunks).toString("latin1"),
        trailers,
      }),
    );
    stream.on("error", reject);
    stream.end(body);
  });
}

function overHttp1(
  { ":path": path = "", ...headers }: Record<string, string>,
  body: Buffer,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sending = http1(`${server.url}${path}`, { method: "POST", headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () =>
        resolve({
          status: response.statusCode,
          headers: response.headers,
          body: Buffer.concat(chunks).toString("latin1"),
          trailers: response.trailers,
        }),
      );
    });
    sending.on("error", reject);
    sending.end(body);
  });
}

async function call(way: Way, path: string, { body, headers: own }: Case): Promise<Answer> {
  const headers: Record<string, string> = {
    ":path": path,
    "content-type": way.type,
    authorization: `Bearer ${server.acme.key}`,
    "x-request-id": "of-the-test",
    [way.accepts]: "gzip",
    ...way.more,
    ...own,
  };
  if (headers["authorization"] === "") delete headers["authorization"];
  return way.version === 2 ? overHttp2(headers, body(way)) : overHttp1(headers, body(way));
}

/** Who answered, and the answer without what may differ. */
function judge({ headers, ...answer }: Answer, { offers }: Way) {
  const { date: _, [offers ?? ""]: encoding, ...rest } = headers;
  return { byConnect: encoding !== undefined, answer: { ...answer, headers: rest } };
}

async function compare(way: Way, path: string, one: Case): Promise<void> {
  const plain = judge(await call(way, path, one), way);
  const other = judge(await call(way, `${path}?connect`, one), way);
  expect(plain.answer).toEqual(other.answer);
  if (way.offers !== undefined) {
    expect([plain.byConnect, other.byConnect]).toEqual([one.isOdd === true, true]);
  }
}

describe.each(ofStreams)("a stream over %s", (_name, way) => {
  test.each(Object.entries(cases))("%s", (_name, one) =>
    compare(way, `/tributary.v1.EventStreamService/${one.method ?? "StreamWorkflow"}`, one),
  );

  test("a deadline is Connect's to keep", async () => {
    const headers = { "grpc-timeout": "9S", "connect-timeout-ms": "9000" };
    const path = "/tributary.v1.EventStreamService/StreamWorkflow";
    const answer = await call(way, path, { body: () => workflow(ended), headers });
    expect(judge(answer, way).byConnect).toBe(true);
  });
});

const event = (fields: MessageInitShape<typeof StreamTaskDataRequestSchema>) => (way: Way) => {
  const message = toBinary(
    StreamTaskDataRequestSchema,
    create(StreamTaskDataRequestSchema, {
      workflowExecutionId: open,
      taskExecutionId: "t",
      type: EventType.TOKEN,
      payload: "x",
      ...fields,
    }),
  );
  return way.bare ? Buffer.from(message) : envelope(message);
};

const unaryCases: Readonly<Record<string, Case>> = {
  "an event that is accepted": { body: (way) => event({})(way) },
  "one with a deadline": {
    body: (way) => event({})(way),
    headers: { "grpc-timeout": "9S", "connect-timeout-ms": "9000" },
  },
  "a durable one that is there": {
    body: (way) => event({ producerId: "p", sequence: 1n, waitForDurable: true })(way),
  },
  "a workflow that is not": {
    body: (way) => event({ workflowExecutionId: "0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6" })(way),
  },
  "a foreign workflow": { body: (way) => event({ workflowExecutionId: foreign })(way) },
  "a workflow that is closed": {
    body: (way) => event({ workflowExecutionId: ended, waitForDurable: true })(way),
  },
  "a number without a producer": { body: (way) => event({ sequence: 3n })(way) },
  "no credential": { body: (way) => event({})(way), headers: { authorization: "" } },
  "a wrong credential": { body: (way) => event({})(way), headers: { authorization: "Bearer trib_no" } },
  "a type that only the server gives": {
    body: (way) => event({ type: EventType.WORKFLOW_CREATED })(way),
    isOdd: true,
  },
  "an empty message": {
    body: ({ bare }) => (bare ? Buffer.alloc(0) : envelope(Buffer.alloc(0))),
    isOdd: true,
  },
  "bytes that are no message": {
    body: ({ bare }) => (bare ? Buffer.from([0xff, 0xff]) : envelope(Buffer.from([0xff, 0xff]))),
    isOdd: true,
  },
  "a large event": {
    body: (way) => event({ payload: "x".repeat(100_000) })(way),
    isOdd: true,
  },
  "a deadline that is none": {
    body: (way) => event({})(way),
    headers: { "grpc-timeout": "soon", "connect-timeout-ms": "soon" },
    isOdd: true,
  },
};

describe.each(ofUnary)("an event over %s", (_name, way) => {
  test.each(Object.entries(unaryCases))("%s", async (_name, one) => {
    const path = "/tributary.v1.TaskStreamService/StreamTaskData";
    await call(way, path, one); // whatever is stored once is stored now
    await compare(way, path, one);
  });
});
