/**
 * A stream that is answered without Connect's layers answers as Connect does: each call is made twice, once plain and once
 * with a deadline that never comes, which is Connect's, and the bytes, headers and trailers are compared. Which of the two answered
 * shows in the encoding that Connect offers for its answer.
 */
import { request as http1 } from "node:http";
import { connect as http2 } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  StreamTaskRequestSchema,
  StreamWorkflowConsolidatedRequestSchema,
  StreamWorkflowRequestSchema,
} from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { newWorkflow, publish, token } from "../api/trees.ts";
import { useServer } from "../support/server.ts";

const server = useServer();

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, unknown>>;
}

const protocols = {
  gRPC: { type: "application/grpc+proto", deadline: { "grpc-timeout": "100S" }, prefix: "grpc" },
  "gRPC-Web": { type: "application/grpc-web+proto", deadline: { "grpc-timeout": "100S" }, prefix: "grpc" },
  Connect: {
    type: "application/connect+proto",
    deadline: { "connect-timeout-ms": "99000" },
    prefix: "connect",
  },
} as const;
const ways = [
  ["gRPC", 2],
  ["gRPC-Web", 2],
  ["gRPC-Web", 1],
  ["Connect", 2],
  ["Connect", 1],
] as const;

const envelope = (message: Uint8Array, { flags = 0, size = message.byteLength } = {}) => {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(size, 1);
  return Buffer.concat([head, message]);
};

let ended = "";
let foreign = "";
const path = (method: string) => `/tributary.v1.EventStreamService/${method}`;
beforeAll(async () => {
  ended = await newWorkflow(server.acme);
  foreign = await newWorkflow(server.globex);
  await publish(server.acme, [token(ended, "one"), token(ended, "two ✓"), token(ended, "x".repeat(100_000))]);
  await server.acme.workflows.closeWorkflow({ workflowId: ended, status: WorkflowStatus.COMPLETED });
});

const workflow = (workflowId: string, options = {}) =>
  envelope(
    toBinary(StreamWorkflowRequestSchema, create(StreamWorkflowRequestSchema, { workflowId, options })),
  );

interface Case {
  readonly method?: string;
  readonly body: () => Buffer;
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

/** Who answered, and the answer without what may differ. */
function judge({ headers, ...answer }: Answer, prefix: string): { byConnect: boolean; answer: object } {
  const offered = `${prefix === "grpc" ? "grpc" : "connect-content"}-encoding`;
  const { date: _, [offered]: encoding, ...rest } = headers;
  return { byConnect: encoding !== undefined, answer: { ...answer, headers: rest } };
}

describe.each(ways)("over %s, HTTP/%i", (name, version) => {
  const { type, deadline, prefix } = protocols[name];
  const call = (headers: Record<string, string>, { method = "StreamWorkflow", body, headers: own }: Case) => {
    const all: Record<string, string> = {
      ":path": path(method),
      "content-type": type,
      authorization: `Bearer ${server.acme.key}`,
      "x-request-id": "of-the-test",
      [prefix === "grpc" ? "grpc-accept-encoding" : "connect-accept-encoding"]: "gzip",
      ...(prefix === "grpc" ? { te: "trailers" } : { "connect-protocol-version": "1" }),
      ...headers,
      ...own,
    };
    if (all["authorization"] === "") delete all["authorization"];
    return version === 2 ? overHttp2(all, body()) : overHttp1(all, body());
  };

  test.each(Object.entries(cases))("%s", async (_name, one) => {
    const [plain, timed] = [judge(await call({}, one), prefix), judge(await call(deadline, one), prefix)];
    expect(plain.answer).toEqual(timed.answer);
    expect([plain.byConnect, timed.byConnect]).toEqual([one.isOdd === true, true]);
  });
});
