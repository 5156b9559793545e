/**
 * A call that is answered without Connect's layers is answered as Connect does it: each is made both ways, and bytes, headers and
 * trailers are compared.
 */
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
import {
  type Case,
  call,
  closeSessions,
  compare,
  envelope,
  judge,
  ofStreams,
  ofUnary,
  type Way,
} from "./both-ways.ts";

const server = useServer();
/** The server as the calls see it. */
const there = () => ({ url: server.url, key: server.acme.key });

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

afterAll(closeSessions);

describe.each(ofStreams)("a stream over %s", (_name, way) => {
  test.each(Object.entries(cases))("%s", async (_name, one) => {
    await compare(there(), way, `/tributary.v1.EventStreamService/${one.method ?? "StreamWorkflow"}`, one);
  });

  test("a deadline is Connect's to keep", async () => {
    const headers = { "grpc-timeout": "9S", "connect-timeout-ms": "9000" };
    const path = "/tributary.v1.EventStreamService/StreamWorkflow";
    const answer = await call(there(), way, path, { body: () => workflow(ended), headers });
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
    await call(there(), way, path, one); // whatever is stored once is stored now
    await compare(there(), way, path, one);
  });
});
