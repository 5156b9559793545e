/** MemoryFlow: a session and labelled recalls on one call. */
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Role } from "../../gen/tributary/v1/admin_service_pb.ts";
import { ClosingReason } from "../../gen/tributary/v1/event_pb.ts";
import { RejectionCode, SessionClosedReason } from "../../gen/tributary/v1/session_pb.ts";
import { byText, contents, MemoryCall, observe, type RecallInit, resultsOf } from "../support/memory-call.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";

const server = useServer();

let made = 0;
async function newSpace(): Promise<string> {
  const space = `flow-${++made}`;
  await server.acme.memory.createMemorySpace({ space });
  return space;
}

const flow = () => new MemoryCall(server.acme);
const ask = (call: MemoryCall, label: string, request: RecallInit) => call.say("recall", { label, request });

/** What a label was sent, without its end. */
const messagesOf = (call: MemoryCall, label: string) =>
  call.of(label).flatMap((result) => (result.case === "message" ? [result.value.message] : []));
const foundBy = (call: MemoryCall, label: string) => contents(resultsOf(messagesOf(call, label)));
const casesOf = (call: MemoryCall, label: string) =>
  call.of(label).map((result) => (result.case === "message" ? result.value.message.case : result.case));
const errorOf = (call: MemoryCall, label: string) => {
  const last = call.of(label).at(-1);
  return last?.case === "error" ? last.value : undefined;
};
const isDone = (call: MemoryCall, label: string) => call.of(label).at(-1)?.case === "done";
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 0 as Code,
    (error) => ConnectError.from(error).code,
  );

describe("one call", () => {
  test("remembers, recalls what it remembered, and follows what comes", async () => {
    const space = await newSpace();
    const call = flow();
    call.say("init", { space });
    await call.opened();
    call.batch(1, [{ content: "first otter" }]);
    await call.durable(1);
    ask(call, "once", { space, ...byText("otter") });
    ask(call, "live", { space, ...byText("otter"), follow: true });
    await until(() =>
      expect(casesOf(call, "once")).toEqual(["opened", "results", "snapshotComplete", "done"]),
    );
    await until(() => expect(casesOf(call, "live")).toContain("snapshotComplete"));
    call.batch(2, [{ content: "second otter" }, { content: "duck" }]);
    await until(() => expect(foundBy(call, "live")).toEqual(["first otter", "second otter"]));
    expect(foundBy(call, "once")).toEqual(["first otter"]);
    call.say("close", { drain: true });
    expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.CLIENT, finalSequence: 3n });
    expect(isDone(call, "live")).toBe(true);
  });

  test("of who only recalls needs no session; it lasts until it is closed", async () => {
    const space = await newSpace();
    await observe(server.acme, space, ["otter"]);
    const call = flow();
    ask(call, "a", { space, ...byText("otter"), follow: true });
    await until(() => expect(foundBy(call, "a")).toEqual(["otter"]));
    call.say("heartbeat", {});
    call.say("close", {});
    await call.ended;
    expect(isDone(call, "a")).toBe(true);
    expect(call.replies).toEqual([]);
  });

  test("after a half-close recalls are completed, then the session is detached, and can be resumed", async () => {
    const space = await newSpace();
    await observe(
      server.acme,
      space,
      Array.from({ length: 30 }, () => `otter ${"x".repeat(300_000)}`),
    );
    const call = flow();
    call.say("init", { space });
    call.batch(1, [{ content: "last" }]);
    for (const label of ["a", "b"]) ask(call, label, { space, ...byText("otter") });
    call.halfClose();
    const closed = await call.closed();
    expect(closed).toMatchObject({ reason: SessionClosedReason.DETACHED, finalSequence: 1n });
    for (const label of ["a", "b"]) {
      expect([foundBy(call, label).length, isDone(call, label)]).toEqual([30, true]);
    }
    const again = flow();
    again.say("init", { space, session: { sessionId: call.all("initAck")[0]?.sessionId ?? "" } });
    expect((await again.opened()).lastSequence).toBe(1n);
  });

  test("after a half-close without a session recalls that follow go on", async () => {
    const space = await newSpace();
    const call = flow();
    ask(call, "a", { space, ...byText("otter"), follow: true });
    call.halfClose();
    await until(() => expect(casesOf(call, "a")).toContain("snapshotComplete"));
    await observe(server.acme, space, ["otter"]);
    await until(() => expect(foundBy(call, "a")).toEqual(["otter"]));
  });

  test("a server that stops says so to each label, and to the session", async () => {
    const space = await newSpace();
    const [withSession, without] = [flow(), flow()];
    withSession.say("init", { space });
    for (const call of [withSession, without]) {
      ask(call, "a", { space, ...byText("otter"), follow: true });
      await until(() => expect(casesOf(call, "a")).toContain("snapshotComplete"));
    }
    await server.restart();
    expect((await withSession.closed()).reason).toBe(SessionClosedReason.DRAINING);
    await without.ended;
    for (const call of [withSession, without]) {
      const last = messagesOf(call, "a").at(-1);
      expect(last).toMatchObject({ case: "closing", value: { reason: ClosingReason.DRAINING } });
      expect(isDone(call, "a")).toBe(true);
    }
  });
});

describe("labels", () => {
  test("are free again when their recall has ended or was cancelled; cancelling an unknown one is ignored", async () => {
    const space = await newSpace();
    await observe(server.acme, space, ["otter"]);
    const call = flow();
    call.say("cancel", { label: "never" });
    ask(call, "a", { space, ...byText("otter") });
    await until(() => expect(isDone(call, "a")).toBe(true));
    ask(call, "a", { space, ...byText("otter"), follow: true });
    await until(() => expect(foundBy(call, "a")).toEqual(["otter", "otter"]));
    call.say("cancel", { label: "a" });
    await until(() => expect(call.of("a").filter(({ case: name }) => name === "done")).toHaveLength(2));
    await observe(server.acme, space, ["otter"]);
    ask(call, "b", { space, ...byText("otter") });
    await until(() => expect(isDone(call, "b")).toBe(true));
    expect(foundBy(call, "a")).toHaveLength(2);
    expect(call.of("never")).toEqual([]);
  });

  test("that are open already end the call with ALREADY_EXISTS", async () => {
    const space = await newSpace();
    const call = flow();
    for (let i = 0; i < 2; i++) ask(call, "a", { space, ...byText("otter"), follow: true });
    expect(await codeOf(call.ended)).toBe(Code.AlreadyExists);
  });

  test("that are empty, too long or not printable are an error of their own, and so is what they ask for", async () => {
    const space = await newSpace();
    await observe(server.acme, space, ["otter"]);
    const call = flow();
    const good = { space, ...byText("otter") };
    const bad: [label: string, request: RecallInit | undefined, code: string][] = [
      ["", good, "invalid_argument"],
      ["l".repeat(256), good, "invalid_argument"],
      ["a\tb", good, "invalid_argument"],
      ["no request", undefined, "invalid_argument"],
      ["no cue", { space }, "invalid_argument"],
      ["a wrong field", { ...good, minScore: 2 }, "invalid_argument"],
      ["no such space", { ...good, space: "nowhere" }, "not_found"],
      ["beyond", { ...good, snapshotIsolation: true, snapshotOffset: 9n }, "out_of_range"],
      ["an old epoch", { ...good, options: { expectedEpoch: 1n } }, "aborted"],
    ];
    for (const [label, request] of bad) {
      call.say("recall", request === undefined ? { label } : { label, request });
    }
    ask(call, "l".repeat(255), good);
    for (const [label, , code] of bad) {
      await until(() => expect(errorOf(call, label)?.code, label).toBe(code));
      expect(errorOf(call, label)?.message).not.toBe("");
      expect(call.of(label), label).toHaveLength(1);
    }
    await until(() => expect(foundBy(call, "l".repeat(255))).toEqual(["otter"]));
  });

  test("of a hundred open recalls one more is refused, and room comes with the next that ends", async () => {
    const space = await newSpace();
    const call = flow();
    for (let i = 1; i <= 101; i++) ask(call, `r${i}`, { space, ...byText("otter"), follow: true });
    await until(() => expect(errorOf(call, "r101")?.code).toBe("resource_exhausted"));
    await until(() => expect(casesOf(call, "r100")).toContain("snapshotComplete"));
    call.say("cancel", { label: "r1" });
    ask(call, "r101", { space, ...byText("otter"), follow: true });
    await until(() => expect(casesOf(call, "r101")).toContain("snapshotComplete"));
    await observe(server.acme, space, ["otter"]);
    await until(() => {
      for (let i = 2; i <= 101; i++) expect(foundBy(call, `r${i}`)).toEqual(["otter"]);
    });
  });

  test("each get their turn: a large recall keeps neither a small one nor the acknowledgements waiting", async () => {
    const space = await newSpace();
    await observe(
      server.acme,
      space,
      Array.from({ length: 60 }, () => `large ${"x".repeat(700_000)}`),
    );
    await observe(server.acme, space, ["small"]);
    const call = flow();
    call.say("init", { space });
    await call.opened();
    ask(call, "large", { space, ...byText("large") });
    ask(call, "small", { space, ...byText("small") });
    call.batch(1, [{ content: "beside" }]);
    await until(() => expect(isDone(call, "large")).toBe(true), 30_000);
    const order = call.recalled.map(({ label, result }) => `${label} ${result.case}`);
    expect(order.filter((each) => each === "large message").length).toBeGreaterThan(60);
    expect(order.indexOf("small done")).toBeLessThan(order.indexOf("large message") + 20);
    await call.durable(1);
  });
});

test("a key that may only write recalls nothing; its session goes on", async () => {
  const space = await newSpace();
  await observe(server.acme, space, ["otter"]);
  const { key } = await server.admin.admin.createApiKey({ tenantSlug: "acme", roles: [Role.PUBLISH] });
  const call = new MemoryCall(server.clients(key));
  call.say("init", { space });
  await call.opened();
  ask(call, "a", { space, ...byText("otter") });
  await until(() => expect(errorOf(call, "a")?.code).toBe("permission_denied"));
  call.batch(1, [{ content: "x" }]);
  await call.durable(1);
});

describe("the session of a flow", () => {
  test("begins with one init, before its batches", async () => {
    const early = flow();
    early.batch(1, [{ content: "x" }]);
    expect(await codeOf(early.ended)).toBe(Code.FailedPrecondition);
    const twice = flow();
    for (let i = 0; i < 2; i++) twice.say("init", {});
    expect(await codeOf(twice.ended)).toBe(Code.FailedPrecondition);
    const nowhere = flow();
    nowhere.say("init", { space: "nowhere" });
    expect(await codeOf(nowhere.ended)).toBe(Code.NotFound);
  });

  test("follows the session protocol: gaps, duplicates, final rejections, empty messages", async () => {
    const space = await newSpace();
    const call = flow();
    call.say("init", { space });
    call.batch(1, [{ content: "1" }, { content: "" }, { content: "3" }]);
    call.batch(3, [{ content: "3" }, { content: "4" }]);
    call.batch(9, [{ content: "9" }]);
    call.send({});
    call.batch(5, [{ content: "5" }]);
    await call.durable(5);
    const rejections = call.all("rejected").map(({ code, sequence }) => [code, sequence]);
    expect(rejections).toHaveLength(4);
    expect(rejections).toEqual(
      expect.arrayContaining([
        [RejectionCode.INVALID, 2n],
        [RejectionCode.SEQUENCE_GAP, 9n],
        [RejectionCode.BAD_MESSAGE, 0n],
        [RejectionCode.SEQUENCE_DUPLICATE, 3n],
      ]),
    );
    call.say("close", { drain: true, lastSequence: 99n });
    ask(call, "still here", { space, ...byText("4") });
    await until(() => expect(foundBy(call, "still here")).toEqual(["4"]));
  });

  test("taken over by another connection ends the call, and its recalls with it", async () => {
    const space = await newSpace();
    const call = flow();
    call.say("init", { space });
    const { sessionId } = await call.opened();
    ask(call, "a", { space, ...byText("otter"), follow: true });
    await until(() => expect(casesOf(call, "a")).toContain("snapshotComplete"));
    const other = flow();
    other.say("init", { space, session: { sessionId } });
    await other.opened();
    expect((await call.closed()).reason).toBe(SessionClosedReason.SUPERSEDED);
    expect(isDone(call, "a")).toBe(true);
  });
});

test("a call that is cut in the middle of everything leaves nothing open", async () => {
  const space = await newSpace();
  await observe(
    server.acme,
    space,
    Array.from({ length: 20 }, () => `otter ${"x".repeat(5000)}`),
  );
  for (let i = 0; i < 10; i++) {
    const call = flow();
    call.say("init", { space });
    for (let n = 0; n < 5; n++) ask(call, `r${n}`, { space, ...byText("otter"), follow: n % 2 === 0 });
    call.batch(1, [{ content: "x" }]);
    if (i > 0) await until(() => expect(call.recalled.length + call.replies.length).toBeGreaterThan(i));
    call.cut();
    await call.ended.catch(() => {});
  }
  await until(() =>
    expect(server.server.gauges()).toEqual({ openCalls: 0, liveStreams: 0, waitingCommands: 0 }),
  );
});
