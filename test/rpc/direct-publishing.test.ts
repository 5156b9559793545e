/**
 * PublishTaskEvents answered directly: the same answers as by Connect, byte for byte, however the messages are cut, and what a
 * call has beside its answers: an end in time, and a client that is held back.
 */
import { connect as http2 } from "node:http2";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { PublishTaskEventsRequestSchema } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { limits } from "../../server/core/limits.ts";
import { newWorkflow } from "../api/trees.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { type Case, closeSessions, compare, envelope, ofStreams, type Way } from "./both-ways.ts";

const server = useServer();
const path = "/tributary.v1.TaskStreamService/PublishTaskEvents";

let closed = "";
let foreign = "";
beforeAll(async () => {
  closed = await newWorkflow(server.acme);
  await server.acme.workflows.closeWorkflow({ workflowId: closed, status: WorkflowStatus.COMPLETED });
  foreign = await newWorkflow(server.globex);
});
afterAll(closeSessions);

type Message = MessageInitShape<typeof PublishTaskEventsRequestSchema>;

const toMessage = (message: Message) =>
  Buffer.from(toBinary(PublishTaskEventsRequestSchema, create(PublishTaskEventsRequestSchema, message)));
const sent = (message: Message) => envelope(toMessage(message));
const event = (workflowId: string, fields = {}) => ({
  workflowId,
  taskExecutionId: "t",
  type: EventType.TOKEN,
  payload: { case: "text" as const, value: "x" },
  ...fields,
});
const batch = (workflowId: string, count: number) =>
  sent({ events: Array.from({ length: count }, () => event(workflowId)) });
const fresh = () => newWorkflow(server.acme);
const good = (workflowId: string) => batch(workflowId, 2);

/** The bytes in pieces of a size. */
const cut = (bytes: Buffer, size: number): Buffer[] =>
  Array.from({ length: Math.ceil(bytes.byteLength / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  );

const endFlagOf = ({ type }: Way) => (type.startsWith("application/connect") ? 2 : 0x80);

const cases: Readonly<Record<string, Case>> = {
  "no message": { body: () => Buffer.alloc(0) },
  "a message without events": { body: () => sent({}) },
  "an empty envelope": { body: () => envelope(Buffer.alloc(0)) },
  "one message": { body: async () => good(await fresh()) },
  "many messages at once": {
    body: async () => {
      const id = await fresh();
      return Buffer.concat(Array.from({ length: 20 }, () => good(id)));
    },
  },
  "messages one by one": {
    body: async () => {
      const id = await fresh();
      return [good(id), good(id), batch(id, 1000)];
    },
  },
  "messages in pieces of seven bytes": {
    body: async () => {
      const id = await fresh();
      return cut(Buffer.concat([good(id), good(id)]), 7);
    },
  },
  "messages that are cut in their heads": {
    body: async () => {
      const two = Buffer.concat([good(await fresh()), sent({})]);
      return [two.subarray(0, -3), two.subarray(-3)];
    },
  },
  "a large message in pieces": {
    body: async () => {
      const large = event(await fresh(), { payload: { case: "text", value: "x".repeat(1_000_000) } });
      return cut(sent({ events: [large, large] }), 100_000);
    },
  },
  "events of a producer": {
    body: async () => sent({ producerId: "p", events: [event(await fresh(), { sequence: 1n })] }),
  },
  "events that are there already": {
    body: () => sent({ producerId: "p", events: [event(closed, { sequence: 1n })] }),
  },
  "a workflow that is not": { body: () => good("0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6") },
  "a foreign workflow": { body: () => good(foreign) },
  "a workflow that is closed": { body: () => good(closed) },
  "good events before one that is not": {
    body: async () => {
      const id = await fresh();
      return sent({ events: [event(id), event(id, { taskExecutionId: "" }), event(id)] });
    },
  },
  "another producer in a later message": {
    body: async () => {
      const id = await fresh();
      return [
        sent({ producerId: "p", events: [event(id, { sequence: 1n })] }),
        sent({ producerId: "q", events: [event(id, { sequence: 1n })] }),
      ];
    },
  },
  "no number, though there is a producer": {
    body: async () => sent({ producerId: "p", events: [event(await fresh())] }),
  },
  "more events than a message may have": { body: async () => batch(await fresh(), 1001) },
  "fields that are not known": {
    body: async () =>
      envelope(Buffer.concat([toMessage({ events: [event(await fresh())] }), Buffer.from([0xf8, 0x3f, 1])])),
  },
  "bytes that are no message": { body: () => envelope(Buffer.from([0xff, 0xff, 0xff])) },
  "such bytes after a good message": {
    body: async () => [good(await fresh()), envelope(Buffer.from([0xff, 0xff, 0xff]))],
  },
  "half a message": { body: () => sent({}).subarray(0, 3) },
  "half a message after a good one": {
    body: async () => {
      const message = good(await fresh());
      return [message, message.subarray(0, 20)];
    },
  },
  "a compressed message without a compression": { body: () => envelope(Buffer.from("x"), { flags: 1 }) },
  "one after a good message": {
    body: async () => [good(await fresh()), envelope(Buffer.from("x"), { flags: 1 })],
  },
  "an envelope that is no message, as at the end of a stream": {
    body: async (way) => [good(await fresh()), envelope(Buffer.from("{}"), { flags: endFlagOf(way) })],
  },
  "an unknown flag": { body: async () => envelope(good(await fresh()).subarray(5), { flags: 4 }) },
  "more than may be sent": { body: () => envelope(Buffer.alloc(100), { size: limits.messageBytesIn + 1 }) },
  "more than may be sent after a good message": {
    body: async () => [good(await fresh()), envelope(Buffer.alloc(100), { size: limits.messageBytesIn + 1 })],
  },
  "a message that is too large for this call": {
    body: async () => {
      const large = event(await fresh(), { payload: { case: "text", value: "x".repeat(1024 * 1024) } });
      return sent({ events: [large, large, large, event(large.workflowId)] });
    },
  },
  "an error while the input is open": {
    body: () => good("0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6"),
    staysOpen: true,
  },
  "a deadline that is kept": {
    body: async () => good(await fresh()),
    headers: { "grpc-timeout": "9S", "connect-timeout-ms": "9000" },
  },
  "a deadline that passes": {
    body: async () => good(await fresh()),
    headers: { "grpc-timeout": "300m", "connect-timeout-ms": "300" },
    staysOpen: true,
  },
  "a deadline that has passed": {
    body: async () => good(await fresh()),
    headers: { "grpc-timeout": "0S", "connect-timeout-ms": "0" },
  },
  "a deadline that is none": {
    body: async () => good(await fresh()),
    headers: { "grpc-timeout": "soon", "connect-timeout-ms": "soon" },
    isOdd: true,
  },
  "no credential": { body: () => good(closed), headers: { authorization: "" } },
  "a wrong credential": { body: () => good(closed), headers: { authorization: "Bearer trib_no" } },
};

describe.each(ofStreams)("events over %s", (_name, way) => {
  test.each(Object.entries(cases))("%s", async (_name, one) => {
    await compare({ url: server.url, key: server.acme.key }, way, path, one);
  });
});

describe("a call over HTTP/2", () => {
  const headers = () => ({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc+proto",
    te: "trailers",
    authorization: `Bearer ${server.acme.key}`,
  });
  const tailOf = async (workflowId: string) =>
    (await server.acme.streams.readEvents({ workflowId, limit: 1 })).tailOffset;

  test("stores each message as it comes, as long as it is open", async () => {
    const workflowId = await fresh();
    const session = http2(server.url);
    const stream = session.request(headers());
    let trailers: Record<string, unknown> = {};
    stream.on("trailers", (found) => {
      trailers = found;
    });
    const ended = new Promise((resolve) => stream.once("end", resolve));
    stream.resume();
    for (let i = 1; i <= 5; i++) {
      stream.write(good(workflowId));
      await until(async () => expect(await tailOf(workflowId)).toBe(BigInt(1 + 2 * i)));
    }
    stream.end();
    await ended;
    expect(trailers).toMatchObject({ "grpc-status": "0" });
    session.close();
  });

  test("that is broken off keeps what had come, and leaves nothing open", async () => {
    const workflowId = await fresh();
    const session = http2(server.url);
    const stream = session.request(headers());
    stream.on("error", () => {});
    stream.write(Buffer.concat([good(workflowId), good(workflowId).subarray(0, 10)]));
    await until(async () => expect(await tailOf(workflowId)).toBe(3n));
    expect(server.server.gauges().openCalls).toBe(1);
    stream.close(8);
    await until(() => expect(server.server.gauges().openCalls).toBe(0));
    expect(await tailOf(workflowId)).toBe(3n);
    session.close();
  });

  test("is read no further than what may wait", async () => {
    const slug = "slow";
    await server.admin.admin.createTenant({ slug, limits: { maxEventsPerSecond: 10 } });
    const { key } = await server.admin.admin.createApiKey({ tenantSlug: slug });
    const clients = server.clients(key);
    const workflowId = await newWorkflow(clients);
    const session = http2(server.url);
    const stream = session.request({ ...headers(), authorization: `Bearer ${key}` });
    stream.on("error", () => {});
    const large = sent({
      events: [event(workflowId, { payload: { case: "text", value: "x".repeat(500_000) } })],
    });
    let written = 0;
    const count = 60;
    for (let i = 0; i < count; i++) stream.write(large, () => written++);
    const read = async () => (await clients.streams.readEvents({ workflowId, limit: 1 })).tailOffset;
    await until(async () => expect(await read()).toBeGreaterThan(11n));
    // A window of 1 MiB, and some messages on their way.
    expect(written).toBeLessThan(Number(await read()) + 10);
    stream.close(8);
    await until(() => expect(server.server.gauges().openCalls).toBe(0));
    session.close();
  });
});
