/** The ends of a session call: always one SessionClosed, last, with true numbers; then the call ends OK. */
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import {
  FlowAction,
  RejectionCode,
  SessionClosedReason,
  SessionEndedSchema,
  SessionState,
} from "../../gen/tributary/v1/session_pb.ts";
import { isFull } from "../support/random.ts";
import { useServer } from "../support/server.ts";
import { aToken, openSession } from "../support/session-call.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { until } from "../support/until.ts";
import { errorOf } from "./codes.ts";
import { begin, stored, storedEvents, texts } from "./session-world.ts";

const server = useServer();
const { SEQUENCE_GAP } = RejectionCode;

describe("a close with drain", () => {
  test("is answered only after everything accepted is durable; meanwhile the state is DRAINING", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
    const lock = await holdStreams(server.database.url, workflowId);
    for (let first = 1; first <= 300; first += 30) call.batch(first, texts(30, first));
    await call.accepted(300);
    call.say("close", { drain: true, lastSequence: 300n });
    await until(() => expect(call.all("status").at(-1)).toMatchObject({ state: SessionState.DRAINING }));
    expect(call.all("closed")).toEqual([]);
    await lock.release();
    expect(await call.closed()).toMatchObject({
      reason: SessionClosedReason.CLIENT,
      finalSequence: 300n,
      lastOffset: 301n,
      discarded: 0,
    });
    expect(await stored(server.acme, workflowId)).toEqual(texts(300));
    const { sessions } = await server.acme.admin.listSessions({ sessionId });
    expect(sessions).toMatchObject([{ state: SessionState.CLOSED, lastSequence: 300n }]);
  });

  test("takes no entries after it", async () => {
    const { workflowId, call } = await begin(server.acme);
    const lock = await holdStreams(server.database.url, workflowId);
    call.batch(1, texts(3));
    call.say("close", { drain: true });
    call.batch(4, texts(3, 4));
    await until(() => expect(call.all("status").at(-1)).toMatchObject({ state: SessionState.DRAINING }));
    call.batch(4, texts(3, 4));
    await lock.release();
    expect(await call.closed()).toMatchObject({ finalSequence: 3n });
    expect(await stored(server.acme, workflowId)).toEqual(texts(3));
  });

  test("of a session without entries is answered with zeros", async () => {
    const { call } = await begin(server.acme);
    call.say("close", { drain: true, lastSequence: 0n });
    expect(await call.closed()).toMatchObject({
      reason: SessionClosedReason.CLIENT,
      finalSequence: 0n,
      lastOffset: 0n,
      discarded: 0,
      reconnectAfterMs: 0,
    });
  });

  test("counts finally rejected entries as settled", async () => {
    const { call } = await begin(server.acme);
    call.events(1, [aToken("1"), aToken("2", { taskExecutionId: "" })]);
    call.say("close", { drain: true, lastSequence: 2n });
    expect(await call.closed()).toMatchObject({ finalSequence: 2n, lastOffset: 2n, discarded: 0 });
    expect(call.rejections()).toHaveLength(1);
  });

  test("twice, or with a half-close after it, is one close", async () => {
    const { workflowId, call } = await begin(server.acme);
    const lock = await holdStreams(server.database.url, workflowId);
    call.batch(1, texts(3));
    call.say("close", { drain: true });
    call.say("close", { drain: true });
    call.halfClose();
    await lock.release();
    expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.CLIENT, finalSequence: 3n });
  });
});

describe("a close without drain", () => {
  test("comes at once, and what waits is discarded and counted", async () => {
    const { workflowId, call } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
    const lock = await holdStreams(server.database.url, workflowId);
    for (let n = 1; n <= 300; n++) call.batch(n, [`${n}`]);
    await call.accepted(300);
    call.say("close", { drain: false });
    const closing = call.closed();
    // Postgres is still locked: what is with it has to be waited for, what waits behind it has not.
    const early = await Promise.race([
      closing.then(() => "at once"),
      new Promise((resolve) => setTimeout(resolve, 5000, "waits for Postgres")),
    ]);
    await lock.release();
    const closed = await closing;
    expect(closed.reason).toBe(SessionClosedReason.CLIENT);
    const kept = await stored(server.acme, workflowId);
    expect(Number(closed.finalSequence) + closed.discarded).toBe(300);
    expect(kept).toEqual(texts(Number(closed.finalSequence)));
    expect(closed.discarded).toBeGreaterThan(0);
    // Nothing of it comes later.
    await server.acme.tasks.streamTaskData({
      workflowExecutionId: workflowId,
      taskExecutionId: "barrier",
      type: 1,
      payload: "barrier",
      waitForDurable: true,
    });
    expect(await stored(server.acme, workflowId)).toEqual([...kept, "barrier"]);
    expect(early).toBe("at once");
  });

  test("discards nothing that is durable", async () => {
    const { workflowId, call } = await begin(server.acme);
    call.batch(1, texts(100));
    await call.durable(100);
    call.say("close", {});
    expect(await call.closed()).toMatchObject({ finalSequence: 100n, lastOffset: 101n, discarded: 0 });
    expect(await stored(server.acme, workflowId)).toEqual(texts(100));
  });

  test("under load: what is stored and what was discarded add up", async () => {
    const { workflowId, call } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
    for (let n = 1; n <= 1000; n++) call.batch(n, [`${n}`]);
    call.say("close", { drain: false });
    const closed = await call.closed();
    expect(call.rejections()).toEqual([]);
    expect(Number(closed.finalSequence) + closed.discarded).toBe(1000);
    expect(await stored(server.acme, workflowId)).toEqual(texts(Number(closed.finalSequence)));
  });

  test("ends the session for good", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme);
    call.batch(1, texts(2));
    await call.durable(2);
    call.say("close", { drain: false });
    await call.closed();
    const error = await errorOf(openSession(server.acme, workflowId, { sessionId: sessionId.toUpperCase() }));
    expect(error.code).toBe(Code.FailedPrecondition);
    expect(error.findDetails(SessionEndedSchema)).toMatchObject([{ lastSequence: 2n }]);
  });
});

// Half a minute each: in the full selection only, not skipped in the other.
if (isFull) {
  describe("a close that Postgres keeps waiting", () => {
    test.each([
      ["without drain", false, 30_000],
      ["with drain, after 30 s at most,", true, 35_000],
    ])(
      "%s still ends with SessionClosed, which counts what was given up",
      { timeout: 120_000 },
      async (_, drain, withinMs) => {
        const { workflowId, call } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
        const lock = await holdStreams(server.database.url, workflowId);
        for (let n = 1; n <= 300; n++) call.batch(n, [`${n}`]);
        await call.accepted(300);
        const began = Date.now();
        call.say("close", { drain });
        const closed = await call.closed().finally(lock.release);
        expect(Date.now() - began).toBeLessThan(withinMs);
        expect(closed.reason).toBe(SessionClosedReason.CLIENT);
        expect(Number(closed.finalSequence) + closed.discarded).toBe(300);
        expect(await stored(server.acme, workflowId)).toEqual(texts(Number(closed.finalSequence)));
      },
    );
  });
}

describe("the last sequence of a close", () => {
  test.each([
    ["beyond what was received", 4n],
    ["below what was received", 2n],
  ])("%s is a gap; the session stays open and nothing is dropped", async (_, lastSequence) => {
    for (const drain of [true, false]) {
      const { workflowId, call } = await begin(server.acme);
      call.batch(1, texts(3));
      call.say("close", { drain, lastSequence });
      call.batch(4, ["4"]);
      await call.durable(4);
      await call.heard();
      expect(call.rejections()).toEqual([[SEQUENCE_GAP, Number(lastSequence), expect.any(Number), false]]);
      expect(call.rejections()[0]?.[2]).toBe(4);
      call.say("close", { drain: true, lastSequence: 4n });
      expect(await call.closed()).toMatchObject({ finalSequence: 4n });
      expect(await stored(server.acme, workflowId)).toEqual(texts(4));
    }
  });

  test("of what was dropped after a gap is a gap", async () => {
    const { workflowId, call } = await begin(server.acme);
    call.batch(1, ["1"]);
    call.batch(3, ["3"]);
    call.say("close", { drain: true, lastSequence: 3n });
    await call.heard();
    expect(call.rejections().map(([code]) => code)).toEqual([SEQUENCE_GAP, SEQUENCE_GAP]);
    call.batch(2, texts(2, 2));
    call.say("close", { drain: true, lastSequence: 3n });
    expect(await call.closed()).toMatchObject({ finalSequence: 3n });
    expect(await stored(server.acme, workflowId)).toEqual(texts(3));
  });

  test("of a session that got nothing is a gap", async () => {
    const { call } = await begin(server.acme);
    call.say("close", { drain: true, lastSequence: 1n });
    await call.heard();
    expect(call.rejections()).toEqual([[SEQUENCE_GAP, 1, 1, false]]);
  });
});

describe("without a close", () => {
  test("a half-closed call is DETACHED after all is settled, and can be resumed", async () => {
    const { workflowId, call, sessionId } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
    const lock = await holdStreams(server.database.url, workflowId);
    call.batch(1, texts(50));
    call.halfClose();
    await call.accepted(50);
    await lock.release();
    expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.DETACHED, discarded: 0 });
    const again = await openSession(server.acme, workflowId, { sessionId });
    expect(await again.opened()).toMatchObject({ lastSequence: 50n });
    expect(await stored(server.acme, workflowId)).toEqual(texts(50));
  });

  test("a call half-closed right after init, or while paused, or after a gap, is DETACHED too", async () => {
    const idle = await begin(server.acme);
    const paused = await begin(server.acme);
    paused.call.say("flow", { action: FlowAction.PAUSE });
    const gap = await begin(server.acme);
    gap.call.batch(2, ["2"]);
    for (const { call, workflowId, sessionId } of [idle, paused, gap]) {
      call.halfClose();
      expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.DETACHED, finalSequence: 0n });
      const again = await openSession(server.acme, workflowId, { sessionId });
      again.batch(1, ["1"]);
      await again.durable(1);
    }
  });

  test("a broken call keeps what was accepted", async () => {
    const { workflowId, call } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
    const lock = await holdStreams(server.database.url, workflowId);
    call.batch(1, texts(200));
    await call.accepted(200);
    call.cut();
    await lock.release();
    await until(async () => expect(await storedEvents(server.acme, workflowId)).toHaveLength(200));
    expect(await stored(server.acme, workflowId)).toEqual(texts(200));
  });
});
