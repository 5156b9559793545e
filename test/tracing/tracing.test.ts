/**
 * Traces as a receiver gets them: the call of who writes, the commit, the call of who reads and what was delivered to it, linked
 * through what is kept with the events.
 */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTributaryClient, type Event, EventType } from "../../client/index.ts";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { sse } from "../api/sse-client.ts";
import { newWorkflow, readAll, repeat, token } from "../api/trees.ts";
import { describeWith } from "../support/describe-with.ts";
import { startInstance, stopInstance } from "../support/instances.ts";
import { natsServer, startNats } from "../support/nats.ts";
import { OtlpReceiver, type ReceivedSpan } from "../support/otlp-receiver.ts";
import { type Clients, createClients, useServer } from "../support/server.ts";
import { until } from "../support/until.ts";

let receiver: OtlpReceiver;
const env: Record<string, string> = { OTEL_EXPORTER_OTLP_HEADERS: "x-receiver-key=for%20the%20receiver" };
beforeAll(async () => {
  receiver = await OtlpReceiver.open();
  env["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.url;
});
afterAll(() => receiver.close());
const server = useServer(env);

interface Trace {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceparent: string;
}

function newTrace(flags = "01"): Trace {
  const [traceId, spanId] = [randomBytes(16).toString("hex"), randomBytes(8).toString("hex")];
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-${flags}` };
}

const client = (trace: Trace | undefined, { url, key }: Clients = server.acme) =>
  createTributaryClient({ baseUrl: url, credential: key, traceparent: trace?.traceparent });

const ofTrace = ({ traceId }: Trace) => receiver.spans.filter((span) => span.traceId === traceId);
const toTraceparent = ({ traceId, spanId }: Pick<ReceivedSpan, "traceId" | "spanId">) =>
  `00-${traceId}-${spanId}-01`;

/** The one span of this trace with this name, when it has come. */
const spanOf = (trace: Trace, name: string): Promise<ReceivedSpan> =>
  until(() => {
    const found = ofTrace(trace).filter((span) => span.name === name);
    expect(found.length, `${name} in ${ofTrace(trace).map((span) => span.name)}`).toBe(1);
    return found[0] as ReceivedSpan;
  });

const finish = (workflowId: string, { workflows }: Clients = server.acme) =>
  workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED, closeDescendants: true });

type Writer = (trace: Trace, workflowId: string) => Promise<void>;

async function withClient(
  trace: Trace,
  write: (own: ReturnType<typeof client>) => Promise<unknown>,
): Promise<void> {
  const own = client(trace);
  try {
    await write(own);
  } finally {
    own.close();
  }
}

const writers: Readonly<Record<string, Writer>> = {
  StreamTaskData: (trace, workflowExecutionId) =>
    withClient(trace, ({ tasks }) =>
      tasks.streamTaskData({
        workflowExecutionId,
        taskExecutionId: "t",
        type: EventType.TOKEN,
        payload: "x",
        waitForDurable: true,
      }),
    ),
  PublishTaskEvents: (trace, workflowId) =>
    withClient(trace, ({ tasks }) =>
      tasks.publishTaskEvents(
        (async function* () {
          yield { events: [token(workflowId, "x")] };
        })(),
      ),
    ),
  // Without a trace for its entries, which the SDK would give them: they get that of the call.
  PublishTaskStream: (trace, workflowId) =>
    withClient(trace, async (own) => {
      await using session = own.openSession({ workflowId, traceparent: "" });
      await session.task("t").token("x");
    }),
};

type Reader = (trace: Trace, workflowId: string) => Promise<readonly { traceparent?: string }[]>;

const readers: Readonly<Record<string, { readonly span: string; readonly read: Reader }>> = {
  StreamWorkflowConsolidated: {
    span: "tributary.v1.EventStreamService/StreamWorkflowConsolidated",
    read: async (trace, workflowId) => {
      const own = client(trace);
      try {
        const { values } = await own.followTree(workflowId).collect();
        return values;
      } finally {
        own.close();
      }
    },
  },
  SSE: {
    span: "GET /api/tenants/{tenant}/stream/workflows/{workflow}/consolidated",
    read: async ({ traceparent }, workflowId) => {
      const answer = await fetch(
        `${server.url}/api/tenants/acme/stream/workflows/${workflowId}/consolidated`,
        { headers: { authorization: `Bearer ${server.acme.key}`, traceparent } },
      );
      const text = await answer.text();
      return [...text.matchAll(/^event: (?:token|workflow_\w+)\nid: \d+\ndata: (.*)$/gm)].map(
        ([, data = ""]) => JSON.parse(data),
      );
    },
  },
};

/** Reads the workflow with a trace of its own: it gets the writer's context, and links to it from what it was delivered. */
async function expectLinked(workflowId: string, call: ReceivedSpan, over: string): Promise<void> {
  const { span, read } = readers[over] ?? expect.fail(over);
  const reader = newTrace();
  const events = await read(reader, workflowId);
  expect(events.flatMap(({ traceparent }) => traceparent || [])).toEqual([toTraceparent(call)]);
  const reading = await spanOf(reader, span);
  expect(reading.parentSpanId).toBe(reader.spanId);
  const delivery = await spanOf(reader, "deliver");
  expect(delivery.parentSpanId).toBe(reading.spanId);
  expect(delivery.links).toEqual([{ traceId: call.traceId, spanId: call.spanId }]);
}

test("what is written in each way is linked to by the traces of who reads it in each way, also after a restart", async () => {
  const written = await Promise.all(
    Object.entries(writers).map(async ([name, write]) => {
      const workflowId = await newWorkflow(server.acme);
      const writer = newTrace();
      await write(writer, workflowId);
      await finish(workflowId);
      const call = await spanOf(writer, `tributary.v1.TaskStreamService/${name}`);
      expect(call.parentSpanId).toBe(writer.spanId);
      // The three may have come into one commit: then it is of the trace of one of them.
      const commit = await until(
        () =>
          receiver.named("commit").find(({ links }) => links.some(({ spanId }) => spanId === call.spanId)) ??
          expect.fail(`no commit with ${name}`),
      );
      expect(commit.links.map(({ spanId }) => spanId)).toContain(commit.parentSpanId);
      expect(commit.attributes["tributary.entries"]).toBeGreaterThan(0);
      return { workflowId, call };
    }),
  );
  const readAllWays = () =>
    Promise.all(
      written.flatMap(({ workflowId, call }) =>
        Object.keys(readers).map((over) => expectLinked(workflowId, call, over)),
      ),
    );
  await readAllWays();
  await server.restart();
  await readAllWays();
});

test("a live reader gets the trace with the event, and a span for each message that has one", async () => {
  const workflowId = await newWorkflow(server.acme);
  const [reader, writer] = [newTrace(), newTrace()];
  await using stream = await sse(`${server.url}/api/tenants/acme/stream/workflows/${workflowId}`, {
    headers: { authorization: `Bearer ${server.acme.key}`, traceparent: reader.traceparent },
  });
  await stream.until(() => expect(stream.names).toContain("workflow_created"));
  await writers["StreamTaskData"]?.(writer, workflowId);
  const call = await spanOf(writer, "tributary.v1.TaskStreamService/StreamTaskData");
  await stream.until(() => expect(stream.text).toContain(`"traceparent":"${toTraceparent(call)}"`));
  await server.acme.tasks.streamTaskData({
    workflowExecutionId: workflowId,
    taskExecutionId: "t",
    type: EventType.TOKEN,
    payload: "of a caller whom nobody traces: the server begins a trace of its own",
    waitForDurable: true,
  });
  await finish(workflowId);
  await stream.end();
  const deliveries = await until(() => {
    const found = ofTrace(reader).filter(({ name }) => name === "deliver");
    expect(found.length).toBe(2);
    return found;
  });
  expect(deliveries[0]?.links).toEqual([{ traceId: call.traceId, spanId: call.spanId }]);
  expect(deliveries[1]?.links).toHaveLength(1);
});

test("a worker's own context of an event is what the event keeps; one that is not sampled is not kept", async () => {
  const workflowId = await newWorkflow(server.acme);
  const [own, mine, not] = [newTrace(), newTrace(), newTrace("00")];
  const writer = client(mine);
  await using session = writer.openSession({ workflowId });
  const write = (traceparent: string | undefined) =>
    session.write({
      taskExecutionId: "t",
      type: EventType.TOKEN,
      ...(traceparent === undefined ? {} : { traceparent }),
    });
  await write(own.traceparent);
  await write(undefined); // the client's
  await write(not.traceparent);
  await session.flush();
  const stored = await readAll(server.acme, workflowId);
  expect(stored.map(({ traceparent }) => traceparent)).toEqual(["", own.traceparent, mine.traceparent, ""]);
  await session.close();
  writer.close();
  await finish(workflowId);
});

test("who is not sampled leaves no span, and nothing with its events", async () => {
  const workflowId = await newWorkflow(server.acme);
  const not = newTrace("00");
  for (const write of Object.values(writers)) await write(not, workflowId);
  await finish(workflowId);
  const { rows } = await server.pool.query(
    "select count(*)::int as n, count(trace_context)::int as traced from event where workflow_id = $1",
    [workflowId],
  );
  expect(rows).toEqual([{ n: 5, traced: 0 }]);
  await readers["SSE"]?.read(not, workflowId);
  const later = newTrace();
  await writers["StreamTaskData"]?.(later, await newWorkflow(server.acme));
  await spanOf(later, "tributary.v1.TaskStreamService/StreamTaskData");
  expect(ofTrace(not)).toEqual([]);
});

test.each([
  ["nonsense", /traceparent must be a W3C traceparent/],
  [newTrace().traceparent.toUpperCase(), /traceparent must be a W3C traceparent/],
  [`00-${"0".repeat(32)}-00f067aa0ba902b7-01`, /traceparent must not .*zeros only/],
  [`00-${"a".repeat(32)}-0000000000000000-01`, /traceparent must not .*zeros only/],
])(
  "the trace context %s of an event is refused by its field, however it is written",
  async (traceparent, text) => {
    const workflowId = await newWorkflow(server.acme);
    const { tasks } = server.acme;
    const event = { taskExecutionId: "t", type: EventType.TOKEN, traceparent };
    await expect(tasks.streamTaskData({ ...event, workflowExecutionId: workflowId })).rejects.toThrow(text);
    const events = (async function* () {
      yield { events: [{ ...event, workflowId }] };
    })();
    await expect(tasks.publishTaskEvents(events)).rejects.toThrow(text);
    const writer = client(undefined);
    const session = writer.openSession({ workflowId });
    const { settled } = await session.write(event);
    await expect(settled).rejects.toThrow(text);
    await session.close();
    writer.close();
    expect((await readAll(server.acme, workflowId)).length).toBe(1);
    await finish(workflowId);
  },
);

test("spans say what was called and what came of it, by OpenTelemetry's names, and nothing secret", async () => {
  const [good, bad, anonymous] = [newTrace(), newTrace(), newTrace()];
  const workflowId = await newWorkflow(server.acme);
  await writers["StreamTaskData"]?.(good, workflowId);
  const span = await spanOf(good, "tributary.v1.TaskStreamService/StreamTaskData");
  expect(span).toMatchObject({
    service: "tributary",
    kind: 2,
    status: 0,
    attributes: {
      "rpc.system": "grpc",
      "rpc.service": "tributary.v1.TaskStreamService",
      "rpc.method": "StreamTaskData",
      "rpc.grpc.status_code": 0,
      "http.response.status_code": 200,
      "network.peer.address": "127.0.0.1",
      "tributary.tenant": "acme",
    },
  });
  const post = (trace: Trace, authorization: string) =>
    fetch(`${server.url}/tributary.v1.WorkflowService/GetWorkflow`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization, traceparent: trace.traceparent },
      body: JSON.stringify({ workflowId: "0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6" }),
    });
  await post(bad, `Bearer ${server.acme.key}`);
  await post(anonymous, "Bearer trib_nobodys-key");
  const name = "tributary.v1.WorkflowService/GetWorkflow";
  expect((await spanOf(bad, name)).attributes).toMatchObject({
    "rpc.system": "connect_rpc",
    "rpc.connect_rpc.error_code": "not_found",
    "http.response.status_code": 404,
    "tributary.tenant": "acme",
  });
  const unknown = (await spanOf(anonymous, name)).attributes;
  expect(unknown).toMatchObject({ "rpc.connect_rpc.error_code": "unauthenticated" });
  expect(unknown).not.toHaveProperty("tributary.tenant");
  const sent = Buffer.concat(receiver.bodies).toString("latin1");
  for (const secret of [server.acme.key, server.globex.key, "nobodys-key"])
    expect(sent).not.toContain(secret);
  expect(receiver.requests.every(({ headers }) => headers["x-receiver-key"] === "for the receiver")).toBe(
    true,
  );
  await finish(workflowId);
});

test("a message with events of a hundred writers has links to 32 of them", async () => {
  const workflowId = await newWorkflow(server.acme);
  const events = repeat(100, (i) => ({ ...token(workflowId, `${i}`), traceparent: newTrace().traceparent }));
  await server.acme.tasks.publishTaskEvents(
    (async function* () {
      yield { events };
    })(),
  );
  await finish(workflowId);
  const reader = newTrace();
  const read = (await readers["StreamWorkflowConsolidated"]?.read(reader, workflowId)) as Event[];
  expect(read.flatMap(({ traceparent }) => traceparent || [])).toEqual(
    events.map((each) => each.traceparent),
  );
  const deliveries = await until(() => {
    const found = ofTrace(reader).filter(({ name }) => name === "deliver");
    expect(found.length).toBeGreaterThan(0);
    return found;
  });
  expect(Math.max(...deliveries.map(({ links }) => links.length))).toBe(32);
});

describeWith(natsServer, "two instances with NATS", () => {
  test("what is written at one is linked to by who reads it live at the other", async () => {
    const nats = await startNats();
    const more = { ...env, NATS_URL: nats.url, OTEL_SERVICE_NAME: "other" };
    const [here, there] = await Promise.all([
      startInstance(server.database.url, more),
      startInstance(server.database.url, more),
    ]);
    try {
      const at = {
        here: createClients(here.url, server.acme.key),
        there: createClients(there.url, server.acme.key),
      };
      const workflowId = await newWorkflow(at.here);
      const [writer, reader] = [newTrace(), newTrace()];
      const reading = client(reader, at.there);
      const writing = client(writer, at.here);
      const seen: string[] = [];
      for await (const item of reading.followTree(workflowId)) {
        if (item.kind === "opened") {
          await writing.tasks.streamTaskData({
            workflowExecutionId: workflowId,
            taskExecutionId: "t",
            type: EventType.TOKEN,
            waitForDurable: true,
          });
          await finish(workflowId, at.here);
        }
        if (item.kind === "events") seen.push(...item.events.flatMap(({ traceparent }) => traceparent || []));
      }
      reading.close();
      writing.close();
      const call = await spanOf(writer, "tributary.v1.TaskStreamService/StreamTaskData");
      expect(seen).toEqual([toTraceparent(call)]);
      const delivery = await spanOf(reader, "deliver");
      expect(delivery).toMatchObject({
        service: "other",
        links: [{ traceId: call.traceId, spanId: call.spanId }],
      });
    } finally {
      await Promise.all([here, there].map(stopInstance));
      await nats.stop();
    }
  });
});
