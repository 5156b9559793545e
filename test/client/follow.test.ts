/** Follows real streams of a real server, through restarts and cuts. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTributaryClient, type FollowItem, type TributaryClient } from "../../client/index.ts";
import { ClosingReason, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { openProxy } from "./cutting-proxy.ts";
import { followBy } from "./follow-by.ts";

const server = useServer();
let client: TributaryClient;

beforeAll(() => {
  client = createTributaryClient({ baseUrl: server.url, credential: server.acme.key });
});
afterAll(() => client.close());

async function createWorkflow(name = "followed"): Promise<string> {
  const { workflow } = await client.workflows.createWorkflow({ name });
  return workflow?.workflowId ?? "";
}

async function publish(workflowId: string, ...texts: string[]): Promise<void> {
  async function* requests() {
    yield {
      events: texts.map((value) => ({
        workflowId,
        taskExecutionId: "t",
        type: EventType.TOKEN,
        payload: { case: "text" as const, value },
      })),
    };
  }
  await client.tasks.publishTaskEvents(requests());
}

const complete = (workflowId: string) =>
  client.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });

/** Gathers what is seen, in the background. */
function watch(items: AsyncIterable<FollowItem>) {
  const offsets: bigint[] = [];
  const kinds: string[] = [];
  const done = (async () => {
    for await (const item of items) {
      kinds.push(item.kind);
      if (item.kind === "events") offsets.push(...item.events.map(({ offset }) => offset));
    }
  })();
  return { offsets, kinds, done };
}

const upTo = (last: number) => Array.from({ length: last }, (_, at) => BigInt(at + 1));

test("a program that leaves a stream with unread data ends by itself", async () => {
  const id = await createWorkflow();
  await publish(id, "a", "b");
  const leave = () =>
    promisify(execFile)(process.execPath, ["test/client/leaver.ts", server.url, server.acme.key, id], {
      timeout: 20_000,
    });
  // Whether data is unread when it leaves is a matter of luck: a dozen times.
  for (let round = 0; round < 3; round++) {
    for (const { stdout } of await Promise.all([leave(), leave(), leave(), leave()])) {
      expect(stdout).toBe("left\n");
    }
  }
});

test.each([
  ["gRPC", createGrpcTransport],
  ["gRPC-Web", (options: { baseUrl: string }) => createGrpcWebTransport({ ...options, httpVersion: "1.1" })],
  ["Connect", (options: { baseUrl: string }) => createConnectTransport({ ...options, httpVersion: "1.1" })],
])("throws what the server means for good, over %s too: a stream that was made anew", async (_, make) => {
  const id = await createWorkflow();
  const interceptor: Interceptor = (next) => (call) => {
    call.header.set("authorization", `Bearer ${server.acme.key}`);
    return next(call);
  };
  const streams = createClient(
    EventStreamService,
    make({ baseUrl: server.url, interceptors: [interceptor] } as { baseUrl: string }),
  );
  const seen = watch(
    followBy((options, call) => streams.streamWorkflow({ workflowId: id, options }, call), {
      expectedEpoch: 1n,
    }),
  );
  await expect(seen.done).rejects.toMatchObject({ code: Code.Aborted });
  expect(seen.kinds).toEqual([]);
});

test("resumes after a restart of the server without gap or duplicate", async () => {
  const id = await createWorkflow();
  const seen = watch(client.followTree(id));
  await publish(id, "a", "b");
  await until(() => expect(seen.offsets).toEqual(upTo(3)));
  await server.restart();
  await until(() => publish(id, "c"));
  await until(() => complete(id));
  await seen.done;
  expect(new Set(seen.offsets).size).toBe(seen.offsets.length);
  expect(seen.offsets).toEqual(upTo(seen.offsets.length));
  expect(seen.kinds).toContain("interrupted");
  expect(seen.kinds).toContain("resumed");
  expect(seen.kinds.at(0)).toBe("opened");
  expect(seen.kinds.at(-1)).toBe("ended");
});

test("a draining server says so, and how long to wait", async () => {
  const id = await createWorkflow();
  const reasons: unknown[] = [];
  let restarted: Promise<void> | undefined;
  for await (const item of client.followTree(id)) {
    if (item.kind === "events") restarted = server.restart();
    if (item.kind !== "interrupted") continue;
    reasons.push(item.reason);
    break;
  }
  await restarted;
  expect(reasons).toMatchObject([{ reason: ClosingReason.DRAINING, reconnectAfterMs: expect.any(Number) }]);
});

test("resumes after each way in which a connection can be cut", async () => {
  const id = await createWorkflow();
  await using proxy = await openProxy(server.url);
  const behind = createTributaryClient({ baseUrl: proxy.url, credential: server.acme.key });
  const seen = watch(behind.followTree(id));
  let last = 1;
  for (const how of ["reset", "end", "destroy"] as const) {
    await until(() => expect(seen.offsets).toEqual(upTo(last)));
    proxy.cut(how);
    await publish(id, how);
    last += 1;
  }
  await until(() => expect(seen.offsets).toEqual(upTo(last)));
  await complete(id);
  await seen.done;
  expect(seen.offsets).toEqual(upTo(last + 1));
  expect(seen.kinds.filter((kind) => kind === "resumed")).toHaveLength(3);
  behind.close();
});

test("with latest, resumes after where it began and not where it came back", async () => {
  const id = await createWorkflow();
  await publish(id, "old");
  await using proxy = await openProxy(server.url);
  const behind = createTributaryClient({ baseUrl: proxy.url, credential: server.acme.key });
  const seen = watch(behind.follow(id, { latest: true }));
  await until(() => expect(seen.kinds).toEqual(["opened"]));
  proxy.refuse();
  proxy.cut("destroy");
  await until(() => expect(seen.kinds).toContain("interrupted"));
  await publish(id, "while away");
  proxy.accept();
  await complete(id);
  await seen.done;
  expect(seen.offsets).toEqual([3n, 4n]);
  behind.close();
});

test("a break frees the call", async () => {
  const id = await createWorkflow();
  for await (const item of client.followTree(id)) {
    if (item.kind !== "events") continue;
    expect(server.server.gauges().openCalls).toBe(1);
    break;
  }
  await until(() => expect(server.server.gauges().openCalls).toBe(0));
});

test("the signal ends the items without an error and frees the call", async () => {
  const id = await createWorkflow();
  const stop = new AbortController();
  const seen = watch(client.followTree(id, { signal: stop.signal }));
  await until(() => expect(seen.offsets).toEqual([1n]));
  stop.abort();
  await seen.done;
  expect(seen.kinds).toEqual(["opened", "events"]);
  await until(() => expect(server.server.gauges().openCalls).toBe(0));
});

test("the signal ends the wait between two attempts", async () => {
  const away = createTributaryClient({ baseUrl: "http://127.0.0.1:1", credential: "any" });
  const stop = new AbortController();
  const kinds: string[] = [];
  for await (const item of away.followTree(crypto.randomUUID(), { signal: stop.signal })) {
    kinds.push(item.kind);
    stop.abort();
  }
  expect(kinds).toEqual(["interrupted"]);
});

test.each([
  ["an unknown workflow", Code.NotFound, () => client.followTree(crypto.randomUUID())],
  ["a foreign workflow", Code.PermissionDenied, () => foreign()],
  ["a refused key", Code.Unauthenticated, () => withKey("trib_wrong").followTree(crypto.randomUUID())],
  ["a malformed id", Code.InvalidArgument, () => client.followTree("nonsense")],
  ["an offset beyond the tail", Code.OutOfRange, () => beyond()],
])("%s is thrown, not retried", async (_, code, open) => {
  const seen = watch(open());
  const error = await seen.done.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ConnectError);
  expect((error as ConnectError).code).toBe(code);
  expect(seen.kinds).toEqual([]);
});

test("one task ends with its terminal event, one workflow without its children's events", async () => {
  const id = await createWorkflow();
  await client.workflows.createWorkflow({ name: "child", parentWorkflowId: id });
  await publish(id, "x");
  await client.tasks.streamTaskData({
    workflowExecutionId: id,
    taskExecutionId: "t",
    type: EventType.COMPLETED,
    waitForDurable: true,
  });
  const task = watch(client.followTask(id, "t"));
  await task.done;
  expect(task.offsets).toEqual([3n, 4n]);
  await client.workflows.closeWorkflow({
    workflowId: id,
    status: WorkflowStatus.COMPLETED,
    closeDescendants: true,
  });
  const alone = watch(client.follow(id, { afterOffset: 1 }));
  await alone.done;
  expect(alone.offsets).toEqual([3n, 4n, 6n]);
});

const withKey = (credential: string) => createTributaryClient({ baseUrl: server.url, credential });

async function* foreign(): AsyncGenerator<FollowItem> {
  const { workflow } = await server.globex.workflows.createWorkflow({ name: "theirs" });
  yield* client.followTree(workflow?.workflowId ?? "");
}

async function* beyond(): AsyncGenerator<FollowItem> {
  yield* client.followTree(await createWorkflow(), { afterOffset: 99 });
}
