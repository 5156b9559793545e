import { create } from "@bufbuild/protobuf";
import { ViolationsSchema } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import {
  EventStreamService,
  StreamManyRequestSchema,
  StreamWorkflowRequestSchema,
} from "../../gen/tributary/v1/event_stream_service_pb.ts";
import {
  PublishTaskEventsRequestSchema,
  TaskEventSchema,
  TaskStreamService,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { VariableService } from "../../gen/tributary/v1/variable_service_pb.ts";
import { CreateWorkflowRequestSchema, WorkflowService } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { invalidReason, validationInterceptor } from "../../server/rpc/validation.ts";

const workflowId = "0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6";

/** A server whose handlers note that they were reached. */
function createServer() {
  const reached: string[] = [];
  const reach = (handler: string) => {
    reached.push(handler);
    return {};
  };
  const transport = createRouterTransport(
    ({ service }) => {
      service(WorkflowService, {
        getWorkflow: () => reach("getWorkflow"),
        createWorkflow: () => reach("createWorkflow"),
      });
      service(VariableService, { setVariables: () => reach("setVariables") });
      service(EventStreamService, {
        async *streamWorkflow() {
          yield reach("streamWorkflow");
        },
        async *streamMany({ targets }) {
          yield { label: `${targets.length}` };
        },
        async *multiplex(requests) {
          for await (const { operation } of requests) yield { label: operation.case ?? "none" };
        },
      });
      service(TaskStreamService, {
        async publishTaskEvents(requests) {
          let accepted = 0n;
          for await (const { events } of requests) accepted += BigInt(events.length);
          return { accepted };
        },
      });
    },
    { router: { interceptors: [validationInterceptor] } },
  );
  return { reached, transport };
}

async function errorOf(call: Promise<unknown>): Promise<ConnectError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConnectError)) throw new Error(`expected a ConnectError, found ${error}`);
  return error;
}

async function collect<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const message of messages) collected.push(message);
  return collected;
}

async function* one<T>(message: T): AsyncGenerator<T> {
  yield message;
}

describe("the interceptor", () => {
  test("refuses a bad unary request before its handler, with the path, the demand and the value", async () => {
    const { reached, transport } = createServer();
    const error = await errorOf(createClient(WorkflowService, transport).getWorkflow({ workflowId: "abc" }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toBe(
      'workflow_id must be a UUID such as 0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6, found "abc"',
    );
    expect(reached).toEqual([]);
  });

  test("lets a good request through", async () => {
    const { reached, transport } = createServer();
    await createClient(WorkflowService, transport).getWorkflow({ workflowId });
    expect(reached).toEqual(["getWorkflow"]);
  });

  test("refuses a bad server-streaming request before its handler, with the path of the entry", async () => {
    const { reached, transport } = createServer();
    const request = {
      workflowId,
      options: { types: [EventType.TOKEN, EventType.PROGRESS, EventType.UNSPECIFIED] },
    };
    const error = await errorOf(collect(createClient(EventStreamService, transport).streamWorkflow(request)));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toBe(
      "options.types[2] must not be EVENT_TYPE_UNSPECIFIED (0), found EVENT_TYPE_UNSPECIFIED (0)",
    );
    expect(reached).toEqual([]);
  });

  test("says the same as invalidReason", async () => {
    const { transport } = createServer();
    const request = create(CreateWorkflowRequestSchema, {
      workflowId: "x",
      name: "",
      metadata: { k: "\u0000" },
    });
    const error = await errorOf(createClient(WorkflowService, transport).createWorkflow(request));
    expect(error.rawMessage).toBe(invalidReason(CreateWorkflowRequestSchema, request));
    const ofStream = create(StreamWorkflowRequestSchema, { workflowId: "x" });
    const streamError = await errorOf(
      collect(createClient(EventStreamService, transport).streamWorkflow(ofStream)),
    );
    expect(streamError.rawMessage).toBe(invalidReason(StreamWorkflowRequestSchema, ofStream));
  });

  test("attaches the violations", async () => {
    const { transport } = createServer();
    const error = await errorOf(createClient(WorkflowService, transport).createWorkflow({ workflowId: "x" }));
    const [violations] = error.findDetails(ViolationsSchema);
    expect(violations?.violations.map(({ ruleId }) => ruleId)).toEqual(["string.uuid", "string.min_len"]);
    expect(violations?.violations[0]?.field?.elements[0]?.fieldName).toBe("workflow_id");
  });

  test("attaches at most 8 violations and none with a long map key, so that trailers stay small", async () => {
    const { transport } = createServer();
    const assignments = Array.from({ length: 100 }, () => ({ name: "" }));
    const error = await errorOf(
      createClient(VariableService, transport).setVariables({ workflowId, assignments }),
    );
    expect(error.findDetails(ViolationsSchema)[0]?.violations).toHaveLength(8);
    expect(error.rawMessage).toMatch(/; and 197 more$/);
    const metadata = { ["k".repeat(257)]: "\u0000", ["k".repeat(256)]: "\u0000" };
    const request = { name: "n", metadata };
    const keyError = await errorOf(createClient(WorkflowService, transport).createWorkflow(request));
    expect(keyError.findDetails(ViolationsSchema)[0]?.violations).toHaveLength(1);
    expect(keyError.rawMessage).toContain(
      "metadata[a text of 257 bytes] must not contain the character U+0000",
    );
  });

  test("does not touch StreamMany", async () => {
    const { transport } = createServer();
    const messages = await collect(createClient(EventStreamService, transport).streamMany({ targets: [{}] }));
    expect(messages.map(({ label }) => label)).toEqual(["1"]);
  });

  test("does not touch client streams", async () => {
    const { transport } = createServer();
    const bad = one({ events: [{ workflowId: "x" }] });
    expect((await createClient(TaskStreamService, transport).publishTaskEvents(bad)).accepted).toBe(1n);
  });

  test("does not touch bidirectional streams", async () => {
    const { transport } = createServer();
    const bad = one({ operation: { case: "subscribe" as const, value: { workflowId: "x" } } });
    const messages = await collect(createClient(EventStreamService, transport).multiplex(bad));
    expect(messages.map(({ label }) => label)).toEqual(["subscribe"]);
  });
});

describe("invalidReason", () => {
  test("names three violations and counts the rest", () => {
    const event = create(TaskEventSchema, {
      workflowId: "x",
      type: 40,
      timestampMs: -1n,
      sequence: 2n ** 60n,
    });
    const reason = invalidReason(TaskEventSchema, event);
    expect(reason?.split("; ").map((text) => text.split(" ")[0])).toEqual([
      "workflow_id",
      "task_execution_id",
      "sequence",
      "and",
    ]);
    expect(reason).toMatch(/; and 2 more$/);
  });

  test("names the entry of a batch and the target of a call", () => {
    const event = { workflowId, taskExecutionId: "t", type: EventType.TOKEN };
    const batch = create(PublishTaskEventsRequestSchema, {
      events: [event, { ...event, type: EventType.WORKFLOW_CREATED }],
    });
    expect(invalidReason(PublishTaskEventsRequestSchema, batch)).toMatch(
      /^events\[1]\.type must be one of .*, found EVENT_TYPE_WORKFLOW_CREATED \(20\)$/,
    );
    const targets = [{ label: "a", workflowId, options: { heartbeatIntervalMs: 1 } }];
    expect(invalidReason(StreamManyRequestSchema, create(StreamManyRequestSchema, { targets }))).toMatch(
      /^targets\[0]\.options\.heartbeat_interval_ms must be .*, or 0, found 1$/,
    );
  });

  test("says a key is wrong where it is the key", () => {
    const request = create(CreateWorkflowRequestSchema, { name: "n", metadata: { "a\u0000": "b" } });
    expect(invalidReason(CreateWorkflowRequestSchema, request)).toBe(
      'the key of metadata["a\\u0000"] must not contain the character U+0000, found "a\\u0000"',
    );
  });

  test("never prints what is longer than 80 characters", () => {
    const secret = "s3cr3t ".repeat(150_000);
    const event = create(TaskEventSchema, { workflowId, taskExecutionId: secret, type: 1 });
    event.payload = { case: "text", value: secret };
    const reason = invalidReason(TaskEventSchema, event);
    expect(reason).toContain("found a text of 1050000 bytes");
    expect(reason).not.toContain("s3cr3t");
  });

  test("stops at the first violation of a large message", () => {
    const types = Array<EventType>(1_000_000).fill(EventType.UNSPECIFIED);
    const request = create(StreamWorkflowRequestSchema, { workflowId, options: { types } });
    expect(invalidReason(StreamWorkflowRequestSchema, request)).toBe(
      "options.types[0] must not be EVENT_TYPE_UNSPECIFIED (0), found EVENT_TYPE_UNSPECIFIED (0)",
    );
  });

  test("judges ids as their description does, whatever they hold", () => {
    const id = fc.oneof(
      fc.string({ unit: "binary", maxLength: 300 }),
      fc.string({
        unit: fc.constantFrom("\u0000", "\u007f", "\u0080", "\u009f", "\u00a0", "a", "😀"),
        maxLength: 5,
      }),
    );
    fc.assert(
      fc.property(id, (taskExecutionId) => {
        const characters = [...taskExecutionId];
        const control = characters.some((c) => c < " " || (c >= "\u007f" && c <= "\u009f"));
        const good = characters.length >= 1 && characters.length <= 255 && !control;
        const event = create(TaskEventSchema, { taskExecutionId, type: 1 });
        expect(invalidReason(TaskEventSchema, event) === undefined).toBe(good);
      }),
    );
  });
});
