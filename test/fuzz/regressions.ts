/** Inputs that failed once. They are run before all others, whatever the seed. */
import { gzipSync } from "node:zlib";
import type { CallInput, Input } from "./input.ts";
import { envelope } from "./mutate-bytes.ts";

const call = (
  target: string,
  http: CallInput["http"],
  headers: Readonly<Record<string, string>>,
  messages: readonly Buffer[],
): CallInput => ({
  kind: "call",
  target,
  note: "regression",
  http,
  verb: "POST",
  path: `/${target}`,
  headers,
  credential: { of: "acme" },
  parts: messages,
  finish: "end",
});

const json = (...texts: string[]) => texts.map((text) => envelope(Buffer.from(text)));
/** JSON may hold half a surrogate pair, and errors about a value quote it. */
const half = String.raw`"\ud800\ud800"`;
const grpcJson = { "content-type": "application/grpc+json", te: "trailers" };

const pageToken = (position: object) =>
  Buffer.from(JSON.stringify({ pageToken: Buffer.from(JSON.stringify(position)).toString("base64url") }));

export const regressions: Readonly<Record<string, Input>> = {
  "half a surrogate pair in JSON over gRPC was never answered": call(
    "tributary.v1.MemoryService/ListMemorySpaces",
    "2",
    grpcJson,
    json(`{"pageSize":${half}}`),
  ),
  "nor over gRPC-Web and HTTP/1.1, of a stream": call(
    "tributary.v1.EventStreamService/StreamWorkflow",
    "1.1",
    { "content-type": "application/grpc-web+json" },
    json(`{"options":${half}}`),
  ),
  "nor as a later message of a call in both directions": call(
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "2",
    grpcJson,
    json('{"listServices":""}', `{"fileContainingExtension":{"extensionNumber":${half}}}`),
  ),
  "nor in a session": call(
    "tributary.v1.TaskStreamService/PublishTaskStream",
    "2",
    grpcJson,
    json('{"heartbeat":{}}', `{"batch":${half}}`),
  ),
  "nor in a stream of events that are published": call(
    "tributary.v1.TaskStreamService/PublishTaskEvents",
    "2",
    grpcJson,
    json("{}", `{"events":${half}}`),
  ),
  "what is not Brotli was called a bug of the server": call(
    "tributary.v1.WorkflowService/ListWorkflows",
    "2",
    { "content-type": "application/grpc+proto", te: "trailers", "grpc-encoding": "br" },
    [envelope(Buffer.from("0412001802", "hex"), 1)],
  ),
  "so was gzip that ends too early": call(
    "tributary.v1.WorkflowService/ListWorkflows",
    "1.1",
    { "content-type": "application/json", "content-encoding": "gzip" },
    [gzipSync('{"pageSize":1}').subarray(0, 20)],
  ),
  "an event without a workflow before one that is invalid was asked for in the database": call(
    "tributary.v1.TaskStreamService/PublishTaskEvents",
    "1.1",
    { "content-type": "application/connect+json" },
    json('{"events":[{"taskExecutionId":"t","type":6},{"workflowId":"x"}]}'),
  ),
  "a page token with U+0000 reached the database": call(
    "tributary.v1.MemoryService/ListMemorySpaces",
    "2",
    { "content-type": "application/json" },
    [pageToken({ space: "\0" })],
  ),
  "also one of tenants": {
    ...call("tributary.v1.AdminService/ListTenants", "2", { "content-type": "application/json" }, [
      pageToken({ slug: "\0" }),
    ]),
    credential: { of: "admin" },
  },
  "a long text in an error made trailers that clients refuse": call(
    "tributary.v1.WorkflowService/CreateWorkflow",
    "2",
    grpcJson,
    json(`{"metadata":{"${"k".repeat(100_000)}":"a","${"k".repeat(100_000)}":"b"}}`),
  ),
  "a HEAD that Node could not read was answered with a body": {
    kind: "call",
    target: "SSE",
    note: "route",
    http: "1.1",
    verb: "HEAD",
    path: "/api/tenants/acm\u00f8",
    headers: { accept: "text/event-stream" },
    credential: { of: "acme" },
    tokenInQuery: false,
    parts: [],
    finish: "end",
  },
  "a score that is too small for a float was asked for in the database": call(
    "tributary.v1.MemoryService/RecallStream",
    "2",
    { "content-type": "application/connect+json", "connect-protocol-version": "1" },
    json('{"cue":{"timeRange":{}},"min_score":5e-324,"follow":false}'),
  ),
  "a batch at the end of 64 bits was answered with a number that no client can read": call(
    "tributary.v1.MemoryService/MemoryFlow",
    "2",
    { "content-type": "application/grpc-web+json" },
    json(
      '{"init":{"space":"default"}}',
      '{"batch":{"firstSequence":"18446744073709551615","observations":[{"content":"a"},{"content":"b"}]}}',
    ),
  ),
};
