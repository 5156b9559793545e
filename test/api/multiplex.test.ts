/** Multiplex: what the comments of Multiplex, Unsubscribe, Grant and StreamTarget promise, sentence by sentence. */
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { v7 as uuidv7 } from "uuid";
import { describe, expect, test } from "vitest";
import { ClosingReason, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { EventStreamService, StreamScope } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { useServer } from "../support/server.ts";
import { type LabelledCall, multiplex } from "./multiplex-call.ts";
import { inLots, newFamily, newWorkflow, publish, repeat, token } from "./trees.ts";

const server = useServer();
const ranges = (count: number) => repeat(count, (i) => i + 1);

const close = (workflowId: string, closeDescendants = false) =>
  server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED, closeDescendants });
const write = (workflowId: string, count: number) =>
  publish(
    server.acme,
    repeat(count, (i) => token(workflowId, `${i}`)),
  );
/** An open workflow with so many events. */
async function workflowOf(count: number): Promise<string> {
  const id = await newWorkflow(server.acme);
  await write(id, count - 1);
  return id;
}
const failure = (call: LabelledCall) =>
  call.finished.then(
    () => "ended OK",
    (error: Error) => error.message,
  );

describe("subscriptions", () => {
  test("are added and removed while it runs, of every scope, and end by themselves", async () => {
    const { root, child, grandchild } = await newFamily(server.acme);
    await using call = multiplex(server.acme);
    call.subscribe("tree", { scope: StreamScope.CONSOLIDATED, workflowId: root });
    await call.until(() => expect(call.of("tree").offsets).toEqual([1, 2, 3, 4]));
    call.subscribe("task", { scope: StreamScope.TASK, workflowId: grandchild, taskExecutionId: "t" });
    await call.until(() => expect(call.of("task").opened).toBeDefined());
    await publish(server.acme, [token(grandchild, "g"), token(child, "c")]);
    await call.until(() => expect(call.of("task").texts).toEqual(["g"]));
    call.unsubscribe("task").subscribe("child", { workflowId: child });
    await call.until(() => expect(call.of("child").texts.at(-1)).toEqual("c"));
    expect(call.of("task").unsubscribed).toBe(true);
    await publish(server.acme, [token(grandchild, "unheard")]);
    await close(root, true);
    await call.until(() => expect([call.of("tree").isOver, call.of("child").isOver]).toEqual([true, true]));
    expect(call.of("tree").offsets).toEqual(ranges(11));
    expect(call.of("task").texts).toEqual(["g"]);
    expect(call.hasFinished).toBe(false);
    await call.halfClose().end();
  });

  test("work by Connect on HTTP/2 in JSON too", async () => {
    const transport = createConnectTransport({
      baseUrl: server.url,
      httpVersion: "2",
      useBinaryFormat: false,
      interceptors: [
        (next) => (request) => {
          request.header.set("authorization", `Bearer ${server.acme.key}`);
          return next(request);
        },
      ],
    });
    const id = await workflowOf(5);
    await using call = multiplex({ streams: createClient(EventStreamService, transport) });
    call.subscribe("a", { workflowId: id, initialGrant: 2 });
    await call.until(() => expect(call.of("a").offsets).toEqual([1, 2]));
    call.grant("a", 3).subscribe("bad", { workflowId: "x" });
    await call.until(() => expect(call.of("a").offsets).toEqual([1, 2, 3, 4, 5]));
    expect(call.of("bad").error?.code).toBe("invalid_argument");
    await call.unsubscribe("a").halfClose().end();
    expect(call.of("a").unsubscribed).toBe(true);
  });

  test("that are wrong are errors of their labels, which are free again", async () => {
    const [id, foreign] = [await workflowOf(1), await newWorkflow(server.globex)];
    await using call = multiplex(server.acme);
    for (const [target, code] of [
      [{ workflowId: "x" }, "invalid_argument"],
      [{ workflowId: uuidv7() }, "not_found"],
      [{ workflowId: foreign }, "permission_denied"],
      [{ workflowId: id, options: { start: { case: "afterOffset", value: 9n } } }, "out_of_range"],
    ] as const) {
      call.subscribe("a", target);
      await call.until(() => expect(call.of("a").error?.code).toBe(code));
    }
    call.subscribe("a", { workflowId: id });
    await call.until(() => expect(call.of("a").offsets).toEqual([1]));
  });

  test("of another tenant's workflow are denied for the label and touch nothing", async () => {
    const foreign = await newWorkflow(server.globex);
    const before = server.server.gauges();
    await using call = multiplex(server.acme);
    call.subscribe("theirs", { workflowId: foreign }).subscribe("mine", { workflowId: await workflowOf(1) });
    await call.until(() => expect(call.of("mine").offsets).toEqual([1]));
    expect(call.of("theirs").error).toMatchObject({ code: "permission_denied" });
    expect(call.of("theirs").cases).toEqual([]);
    expect(server.server.gauges().liveStreams).toBe(before.liveStreams + 1);
  });

  test("under a label that is in use end the call ALREADY_EXISTS, whatever they ask for", async () => {
    const id = await workflowOf(1);
    for (const again of [{ workflowId: id }, { workflowId: "x" }]) {
      await using call = multiplex(server.acme);
      call.subscribe("a", { workflowId: id });
      await call.until(() => expect(call.of("a").offsets).toEqual([1]));
      call.subscribe("a", again);
      expect(await failure(call)).toMatch(/^\[already_exists\] subscribe\.label: "a" is in use/);
    }
  });

  test("of 500 labels are the most at a time; the next is resource_exhausted for its label, and one that goes makes room", async () => {
    const id = await workflowOf(1);
    await using call = multiplex(server.acme);
    for (let i = 0; i < 501; i++) call.subscribe(`${i}`, { workflowId: id });
    await call.until(() => expect(call.labels.size).toBe(501));
    expect(call.of("500").error?.code).toBe("resource_exhausted");
    call.unsubscribe("17").subscribe("500", { workflowId: id });
    await call.until(() => expect(call.of("500").offsets).toEqual([1]));
    expect(server.server.gauges()).toMatchObject({ openCalls: 1, liveStreams: 1 });
  });

  test("keep what was sent by their policies apart", async () => {
    const id = await newWorkflow(server.acme);
    await using call = multiplex(server.acme);
    call
      .subscribe("all", { workflowId: id })
      .subscribe("newest", {
        workflowId: id,
        options: { conflateTypes: [EventType.PROGRESS], minIntervalMs: 200 },
      })
      .subscribe("some", { workflowId: id, options: { types: [EventType.TOKEN] } });
    await call.until(() =>
      expect(["all", "newest", "some"].map((label) => call.of(label).opened === undefined)).toEqual([
        false,
        false,
        false,
      ]),
    );
    const progress = { workflowId: id, taskExecutionId: "t", type: EventType.PROGRESS };
    for (let i = 0; i < 50; i++) await publish(server.acme, [progress, token(id, `${i}`)]);
    await close(id);
    await call.halfClose().end();
    expect(call.of("all").offsets).toEqual(ranges(102));
    expect(call.of("some").texts).toEqual(repeat(50, String));
    const newest = call.of("newest").events;
    expect(newest.reduce((sum, { replaced }) => sum + 1 + replaced, 0)).toBe(102);
    expect(newest.filter(({ type }) => type === EventType.TOKEN).length).toBe(50);
    expect(newest.length).toBeLessThan(90);
  });
});

describe("the call", () => {
  test("ignores Unsubscribe and Grant of labels that it does not know, or no longer", async () => {
    const id = await workflowOf(1);
    await close(id);
    await using call = multiplex(server.acme);
    call.unsubscribe("a").grant("a", 5).subscribe("a", { workflowId: id, initialGrant: 0 });
    await call.until(() => expect(call.of("a").opened).toBeDefined());
    // The credit was not kept for it.
    await publish(server.acme, []);
    expect(call.of("a").offsets).toEqual([]);
    call.grant("a", 5);
    await call.until(() => expect(call.of("a").ended).toBeDefined());
    call.unsubscribe("a").grant("a", 5).unsubscribe("");
    await call.halfClose().end();
    expect([...call.labels.keys()]).toEqual(["a"]);
    expect(call.of("a").unsubscribed).toBe(false);
  });

  test("answers a message without operation under the empty label, and goes on", async () => {
    const id = await workflowOf(1);
    await using call = multiplex(server.acme);
    call.send({}).subscribe("a", { workflowId: id });
    await call.until(() => expect(call.of("a").offsets).toEqual([1]));
    expect(call.of("").error).toMatchObject({
      code: "invalid_argument",
      message: expect.stringMatching(/^operation/),
    });
    call.send({}).subscribe("", { workflowId: id });
    await call.until(() => expect(call.order.filter((label) => label === "").length).toBe(3));
    expect(call.of("").error?.message).toMatch(/^label must have at least 1 character/);
  });

  test("goes on after a half-close until its subscriptions have ended", async () => {
    const id = await workflowOf(1);
    await using call = multiplex(server.acme);
    call.subscribe("a", { workflowId: id }).halfClose();
    await call.until(() => expect(call.of("a").offsets).toEqual([1]));
    await write(id, 1);
    await call.until(() => expect(call.of("a").offsets).toEqual([1, 2]));
    await close(id);
    await call.end();
    expect(call.of("a").ended).toBeDefined();
  });

  test("without subscriptions stays until it is half-closed", async () => {
    await using call = multiplex(server.acme);
    call.subscribe("bad", { workflowId: "x" });
    await call.until(() => expect(call.of("bad").error).toBeDefined());
    expect([call.hasFinished, server.server.gauges().openCalls]).toEqual([false, 1]);
    await call.halfClose().end();
  });

  test("that the server ends tells each label, and without labels says so under the empty one", async () => {
    const ids = await Promise.all(repeat(3, () => workflowOf(1)));
    const [busy, idle] = [multiplex(server.acme), multiplex(server.acme)];
    for (const id of ids) busy.subscribe(id, { workflowId: id });
    idle.unsubscribe("nothing");
    await busy.until(() => expect([busy.labels.size, server.server.gauges().openCalls]).toEqual([3, 2]));
    await server.restart();
    await Promise.all([busy.end(), idle.end()]);
    expect(ids.map((id) => busy.of(id).closing?.reason)).toEqual(repeat(3, () => ClosingReason.DRAINING));
    expect([...idle.labels.keys()]).toEqual([""]);
    expect(idle.order.length).toBe(1);
  });
});

describe("Unsubscribe", () => {
  test("is answered Unsubscribed and frees what the label held", async () => {
    const ids = await Promise.all(repeat(50, () => workflowOf(3)));
    await using call = multiplex(server.acme);
    for (const workflowId of ids) call.subscribe(workflowId, { workflowId });
    await call.until(() => expect(ids.every((id) => call.of(id).offsets.length === 3)).toBe(true));
    expect(server.server.gauges()).toMatchObject({ openCalls: 1, liveStreams: 50 });
    for (const id of ids.slice(0, 49)) call.unsubscribe(id);
    await call.until(() => {
      expect(ids.slice(0, 49).every((id) => call.of(id).unsubscribed)).toBe(true);
      expect(server.server.gauges()).toMatchObject({ openCalls: 1, liveStreams: 1 });
    });
    await write(ids[49] ?? "", 1);
    await call.until(() => expect(call.of(ids[49] ?? "").offsets).toEqual([1, 2, 3, 4]));
    expect(call.hasFinished).toBe(false);
  });

  test("before anything was sent is answered too, and the label is free at once", async () => {
    const id = await workflowOf(3);
    await using call = multiplex(server.acme);
    for (let i = 0; i < 20; i++) call.subscribe("a", { workflowId: id }).unsubscribe("a");
    await call
      .subscribe("a", { workflowId: id })
      .until(() => expect(call.of("a").offsets).toEqual([1, 2, 3]));
    expect(call.order.length).toBeGreaterThanOrEqual(20 + 2);
  });
});

describe("Grant", () => {
  test("lets a label send as many events as were granted in all, from initial_grant on, 0 included", async () => {
    const id = await workflowOf(100);
    await using call = multiplex(server.acme);
    call
      .subscribe("zero", { workflowId: id, initialGrant: 0 })
      .subscribe("ten", { workflowId: id, initialGrant: 10 });
    await call.until(() => expect(call.of("ten").offsets).toEqual(ranges(10)));
    expect(call.of("zero").cases).toEqual(["opened"]);
    call.grant("zero", 1).grant("zero", 2).grant("ten", 0);
    await call.until(() => expect(call.of("zero").offsets).toEqual(ranges(3)));
    call.grant("ten", 80);
    await call.until(() => expect(call.of("ten").offsets).toEqual(ranges(90)));
    // What comes later needs credit as well.
    await write(id, 50);
    call.grant("zero", 147);
    await call.until(() => expect(call.of("zero").offsets).toEqual(ranges(150)));
    expect(call.of("ten").offsets).toEqual(ranges(90));
  });

  test("limits a label that was not limited, from there on", async () => {
    const id = await workflowOf(20);
    await using call = multiplex(server.acme);
    call.subscribe("a", { workflowId: id }).subscribe("b", { workflowId: id });
    await call.until(() =>
      expect([call.of("a").offsets.length, call.of("b").offsets.length]).toEqual([20, 20]),
    );
    // An answer of a later request shows that the grant was taken.
    call.grant("a", 5).subscribe("late", { workflowId: id });
    await call.until(() => expect(call.of("late").offsets.length).toBe(20));
    await write(id, 10);
    await call.until(() => expect(call.of("b").offsets).toEqual(ranges(30)));
    await call.until(() => expect(call.of("a").offsets).toEqual(ranges(25)));
    call.grant("a", 5);
    await call.until(() => expect(call.of("a").offsets).toEqual(ranges(30)));
  });

  test("is not needed for the end once everything was sent, and only then does the end come", async () => {
    const id = await workflowOf(4);
    await close(id);
    await using call = multiplex(server.acme);
    const onlyTokens = { types: [EventType.TOKEN] };
    call
      .subscribe("all", { workflowId: id, initialGrant: 5 })
      .subscribe("all but one", { workflowId: id, initialGrant: 4 })
      .subscribe("tokens", { workflowId: id, initialGrant: 3, options: onlyTokens })
      .subscribe("none", { workflowId: id, initialGrant: 0, options: { types: [EventType.ERROR] } });
    await call.until(() => {
      for (const label of ["all", "tokens", "none"]) expect(call.of(label).ended, label).toBeDefined();
      expect(call.of("all but one").offsets).toEqual(ranges(4));
    });
    expect(call.of("all but one").ended).toBeUndefined();
    call.grant("all but one", 1);
    await call.until(() => expect(call.of("all but one").ended).toBeDefined());
    await call.halfClose().end();
  });

  test("counts events as they are sent, not those that they stand for", async () => {
    const id = await newWorkflow(server.acme);
    await publish(
      server.acme,
      repeat(3000, () => ({ workflowId: id, taskExecutionId: "t", type: EventType.PROGRESS })),
    );
    await using call = multiplex(server.acme);
    call.subscribe("a", {
      workflowId: id,
      initialGrant: 2,
      options: { conflateTypes: [EventType.PROGRESS] },
    });
    await call.until(() => expect(call.of("a").events.map(({ replaced }) => replaced)).toEqual([0, 2999]));
  });

  test("that one label lacks delays none of 499 others", async () => {
    const root = await newWorkflow(server.acme);
    const ids = await inLots(500, () => newWorkflow(server.acme, root));
    await using call = multiplex(server.acme);
    for (const [i, workflowId] of ids.entries()) {
      call.subscribe(workflowId, { workflowId, ...(i === 0 && { initialGrant: 0 }) });
    }
    await publish(
      server.acme,
      repeat(10_000, (i) => token(ids[i % 500] ?? "", `${i}`)),
      { batch: 500 },
    );
    await close(root, true);
    const [first = "", ...others] = ids;
    await call.until(() => expect(others.every((id) => call.of(id).ended !== undefined)).toBe(true), 30_000);
    expect(call.of(first).offsets).toEqual([]);
    for (const [at, id] of others.entries()) {
      expect(call.of(id).texts.slice(1, -1)).toEqual(repeat(20, (i) => `${i * 500 + at + 1}`));
    }
    await call.grant(first, 22).halfClose().end();
    expect(call.of(first).events.length).toBe(22);
  });
});

test("clients that leave in the middle of everything leave nothing open", async () => {
  const ids = await Promise.all(repeat(10, () => workflowOf(200)));
  for (let round = 0; round < 10; round++) {
    await using call = multiplex(server.acme);
    for (const id of ids) {
      for (let i = 0; i < round; i++) call.subscribe(`${id} ${i}`, { workflowId: id, initialGrant: i * 10 });
    }
    if (round % 2 === 0) await call.until(() => expect(call.labels.size).toBeGreaterThanOrEqual(round));
  }
  // The file's teardown proves it.
});
