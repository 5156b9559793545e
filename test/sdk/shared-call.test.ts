/** Many streams over one call: each of them is as it would be alone. */
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { beforeEach, expect, test } from "vitest";
import { EventReading, type FollowItem, type FollowOptions } from "../../client/read/follow.ts";
import { read } from "../../client/read/reading.ts";
import { SharedCall } from "../../client/read/shared-call.ts";
import { toResilience } from "../../client/resilience/options.ts";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { EventStreamService, StreamScope } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { newWorkflow, publish, token } from "../api/trees.ts";
import { type CuttingProxy, openProxy } from "../client/cutting-proxy.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const server = useServer();
let calls = 0;
let shared: SharedCall;
let proxy: CuttingProxy;
beforeEach(async () => {
  proxy = await openProxy(server.url);
  calls = 0;
  const streams = createClient(
    EventStreamService,
    createConnectTransport({
      baseUrl: proxy.url,
      httpVersion: "1.1",
      useBinaryFormat: true,
      acceptCompression: [],
      interceptors: [
        (next) => (request) => {
          calls += 1;
          request.header.set("authorization", `Bearer ${server.acme.key}`);
          return next(request);
        },
      ],
    }),
  );
  shared = new SharedCall(streams);
  return () => proxy[Symbol.asyncDispose]();
});

function follow(workflowId: string, options: FollowOptions = {}, scope = StreamScope.CONSOLIDATED) {
  const reading = new EventReading(
    "a test",
    (asked, call) => shared.open({ workflowId, scope, options: asked }, call),
    options,
  );
  const deps = { resilience: toResilience({ backoff: { firstMs: 5 } }) };
  return read(reading, deps, options.signal);
}

function watch(items: AsyncIterable<FollowItem>) {
  const offsets: number[] = [];
  const kinds: string[] = [];
  const done = (async () => {
    for await (const item of items) {
      kinds.push(item.kind);
      if (item.kind === "events") offsets.push(...item.events.map(({ offset }) => Number(offset)));
    }
  })();
  return { offsets, kinds, done };
}
const close = (workflowId: string) =>
  server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });

test("thirty streams are one call, whoever comes and goes, and each is complete to its own end", async () => {
  const ids = await Promise.all(Array.from({ length: 30 }, () => newWorkflow(server.acme)));
  const early = ids.slice(0, 20).map((id) => watch(follow(id)));
  await until(() => expect(early.map(({ offsets }) => offsets)).toEqual(early.map(() => [1])));
  expect([calls, server.server.gauges().openCalls]).toEqual([1, 1]);

  const stop = new AbortController();
  const left = watch(follow(ids[0] ?? "", { signal: stop.signal }));
  const late = ids.slice(20).map((id) => watch(follow(id)));
  await until(() => expect(late.map(({ offsets }) => offsets)).toEqual(late.map(() => [1])));
  stop.abort();
  await left.done;
  await until(() => expect(server.server.gauges().openCalls).toBe(1));

  for (const id of ids) await publish(server.acme, [token(id, "x")]);
  for (const id of ids) await close(id);
  for (const { done, offsets, kinds } of [...early, ...late]) {
    await done;
    expect(offsets).toEqual([1, 2, 3]);
    // What became of the call was not noticed.
    expect([kinds[0], kinds.at(-1), kinds.includes("interrupted")]).toEqual(["opened", "ended", false]);
  }
  await until(() => expect(server.server.gauges().openCalls).toBe(0));
});

test("a loop that is left between two messages leaves the call too", async () => {
  const id = await newWorkflow(server.acme);
  for await (const item of follow(id)) if (item.kind === "events") break;
  await until(() => expect(server.server.gauges().openCalls).toBe(0));
});

test("one that cannot be is thrown to its own reader, and the others go on", async () => {
  const id = await newWorkflow(server.acme);
  const good = watch(follow(id));
  const theirs = await newWorkflow(server.globex);
  const bad = watch(follow(crypto.randomUUID()));
  const foreign = watch(follow(theirs));
  const failures = await Promise.allSettled([bad.done, foreign.done]);
  expect(failures.map((failure) => "reason" in failure && String(failure.reason))).toEqual([
    expect.stringContaining("not_found"),
    expect.stringContaining("permission_denied"),
  ]);
  await close(id);
  await good.done;
  expect(good.offsets).toEqual([1, 2]);
});

test("a connection that breaks is resumed for each, without gap or duplicate", async () => {
  const ids = await Promise.all(Array.from({ length: 5 }, () => newWorkflow(server.acme)));
  const seen = ids.map((id) => watch(follow(id)));
  for (let round = 1; round <= 3; round++) {
    await until(() => expect(seen.map(({ offsets }) => offsets.length)).toEqual(seen.map(() => round)));
    proxy.cut("reset");
    for (const id of ids) await publish(server.acme, [token(id, `${round}`)]);
  }
  for (const id of ids) await close(id);
  for (const { done, offsets, kinds } of seen) {
    await done;
    expect(offsets).toEqual([1, 2, 3, 4, 5]);
    expect(kinds).toContain("resumed");
  }
});

test("who does not read delays nobody, keeps next to nothing, and misses nothing", async () => {
  const [slow = "", fast = ""] = [await newWorkflow(server.acme), await newWorkflow(server.acme)];
  const lines = Array.from({ length: 300 }, (_, i) => token(slow, `${i} ${"x".repeat(50_000)}`));
  await publish(server.acme, lines.slice(0, 50), { batch: 20 });
  const lazy = follow(slow);
  const first = await lazy.next();
  expect(first.value?.kind).toBe("opened");
  const eager = watch(follow(fast));
  for (let at = 50; at < 300; at += 50) await publish(server.acme, lines.slice(at, at + 50), { batch: 20 });
  await publish(server.acme, [token(fast, "x")]);
  await until(() => expect(eager.offsets).toEqual([1, 2]));
  expect(shared.held).toBeLessThanOrEqual(4);
  await close(slow);
  await close(fast);
  await eager.done;
  const rest = watch(lazy);
  await rest.done;
  expect(rest.offsets).toEqual(Array.from({ length: 302 }, (_, at) => at + 1));
  expect(rest.kinds).not.toContain("interrupted");
});
