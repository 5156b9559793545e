/** Acknowledgements and credit: what is told when, and how much may be outstanding. */
import { describe, expect, test } from "vitest";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import { FlowAction, RejectionCode, type SessionAck } from "../../gen/tributary/v1/session_pb.ts";
import { useServer } from "../support/server.ts";
import { aToken, type SessionCall } from "../support/session-call.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { until } from "../support/until.ts";
import { begin, stored, storedEvents, texts } from "./session-world.ts";

const server = useServer();
const MiB = 1024 * 1024;
const window = { entries: 1000, bytes: 4 * MiB };
const { CREDIT_EXCEEDED } = RejectionCode;

const ofLevel = (call: SessionCall, wanted: AckLevel) =>
  call.all("ack").filter(({ level }) => level === wanted);

/** Cumulative and rising at each level, DURABLE never before ACCEPTED, and credit exactly what the formula says. */
function checkAcks(call: SessionCall, sizeOf: (sequence: number) => number, entries = window.entries): void {
  const last = { accepted: 0n, durable: 0n };
  const bytesTo = (sequence: bigint) => {
    let sum = 0;
    for (let n = 1; n <= Number(sequence); n++) sum += sizeOf(n);
    return sum;
  };
  let previous: SessionAck | undefined;
  for (const ack of call.all("ack")) {
    const { level, upToSequence } = ack;
    const key = level === AckLevel.DURABLE ? "durable" : "accepted";
    expect(upToSequence).toBeGreaterThanOrEqual(last[key]);
    if (upToSequence === last[key] && upToSequence > 0n) expect(ack).not.toEqual(previous);
    last[key] = upToSequence;
    if (key === "accepted") {
      expect(upToSequence).toBeGreaterThanOrEqual(last.durable);
      expect(ack.lastOffset).toBe(0n);
    }
    expect(Number(upToSequence) + ack.credit).toBe(Number(last.durable) + entries);
    expect(bytesTo(upToSequence) + Number(ack.creditBytes)).toBe(bytesTo(last.durable) + window.bytes);
    previous = ack;
  }
}

describe("DURABLE", () => {
  test.each([AckLevel.UNSPECIFIED, AckLevel.DURABLE])(
    "is the only level of a session with level %i; each ack is cumulative, rising, and committed when it comes",
    async (ackLevel) => {
      const { call, sessionId } = await begin(server.acme, { ackLevel });
      const committed = async () => {
        const { rows } = await server.pool.query(
          "select coalesce(max(sequence), 0)::int as last from event where producer_id = $1",
          [sessionId],
        );
        return rows[0].last as number;
      };
      call.batch(1, texts(20));
      for (let first = 21; first <= 500; first += 20) {
        call.batch(first, texts(20, first));
        // One batch stays on its way while the one before it is looked at.
        const { upToSequence } = await call.durable(first - 1);
        expect(await committed()).toBeGreaterThanOrEqual(Number(upToSequence));
      }
      await call.durable(500);
      expect(await committed()).toBe(500);
      expect(new Set(call.all("ack").map(({ level }) => level))).toEqual(new Set([AckLevel.DURABLE]));
      checkAcks(call, (n) => `${n}`.length);
    },
  );

  test("comes not before the commit", async () => {
    const { workflowId, call } = await begin(server.acme);
    const lock = await holdStreams(server.database.url, workflowId);
    call.batch(1, texts(5));
    expect(await call.heard()).toMatchObject({ queueDepth: expect.any(Number) });
    await call.heard();
    expect(call.all("ack")).toEqual([]);
    await lock.release();
    await call.durable(5);
  });

  test("names the offset of the last stored entry, also when the last one was finally rejected", async () => {
    const { workflowId, call } = await begin(server.acme);
    call.events(1, [aToken("1"), aToken("2"), aToken("3", { taskExecutionId: "" })]);
    expect(await call.durable(3)).toMatchObject({ lastOffset: 3n });
    call.events(4, [aToken("4", { taskExecutionId: "" })]);
    expect(await call.durable(4)).toMatchObject({ lastOffset: 3n });
    await server.acme.tasks.streamTaskData({
      workflowExecutionId: workflowId,
      taskExecutionId: "other",
      type: 1,
      waitForDurable: true,
    });
    call.batch(5, ["5"]);
    expect(await call.durable(5)).toMatchObject({ lastOffset: 5n });
    const events = await storedEvents(server.acme, workflowId);
    expect(events.at(-1)).toMatchObject({ offset: 5n, sequence: 5n });
  });

  test("settles a session whose every entry was rejected", async () => {
    const { call } = await begin(server.acme);
    call.events(
      1,
      texts(10).map((text) => aToken(text, { taskExecutionId: "" })),
    );
    expect(await call.durable(10)).toMatchObject({ lastOffset: 0n, credit: 1000 });
    expect(call.all("rejected").map(({ sequence }) => Number(sequence))).toEqual(texts(10).map(Number));
  });
});

describe("ACCEPTED", () => {
  test("comes while Postgres cannot commit, and DURABLE after it", async () => {
    const { workflowId, call } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
    const lock = await holdStreams(server.database.url, workflowId);
    for (let first = 1; first <= 100; first += 10) call.batch(first, texts(10, first));
    expect(await call.accepted(100)).toMatchObject({ credit: 900, lastOffset: 0n });
    expect(ofLevel(call, AckLevel.DURABLE)).toEqual([]);
    expect(await stored(server.acme, workflowId)).toEqual([]);
    await lock.release();
    expect(await call.durable(100)).toMatchObject({ credit: 1000, lastOffset: 101n });
    checkAcks(call, (n) => `${n}`.length);
  });

  test("of a thousand batches: both levels rise, and credit is what the formula says", async () => {
    const { workflowId, call } = await begin(server.acme, {
      ackLevel: AckLevel.ACCEPTED,
      clientBufferSize: 300,
    });
    let next = 1;
    await until(() => {
      const ack = call.all("ack").at(-1);
      const allowed = ack === undefined ? 300 : Number(ack.upToSequence) + ack.credit;
      for (; next <= Math.min(allowed, 1000); next++) call.batch(next, [`${next}`]);
      if (next <= 1000) throw new Error(`sent ${next - 1}`);
    });
    await call.durable(1000);
    expect(call.rejections()).toEqual([]);
    checkAcks(call, (n) => `${n}`.length, 300);
    expect(await stored(server.acme, workflowId)).toEqual(texts(1000));
  });
});

describe("credit", () => {
  test.each([AckLevel.DURABLE, AckLevel.ACCEPTED])(
    "of entries: the last one allowed is taken, the next one not (level %i)",
    async (ackLevel) => {
      const { workflowId, call } = await begin(server.acme, { ackLevel, clientBufferSize: 20 });
      const lock = await holdStreams(server.database.url, workflowId);
      call.batch(1, texts(20));
      await call.heard();
      expect(call.rejections()).toEqual([]);
      call.batch(21, ["21"]);
      call.batch(22, ["22"]);
      await call.heard();
      expect(call.rejections()).toEqual([[CREDIT_EXCEEDED, 21, 21, false]]);
      call.batch(21, ["21"]); // begins at the expected number: answered again
      await call.heard();
      expect(call.rejections()).toHaveLength(2);
      await lock.release();
      await call.durable(20);
      call.batch(21, texts(20, 21));
      await call.durable(40);
      expect(call.rejections()).toHaveLength(2);
      checkAcks(call, (n) => `${n}`.length, 20);
      expect(await stored(server.acme, workflowId)).toEqual(texts(40));
    },
  );

  test("of a batch that goes beyond it, the part within it is taken", async () => {
    const { workflowId, call } = await begin(server.acme, { clientBufferSize: 20 });
    const lock = await holdStreams(server.database.url, workflowId);
    call.batch(1, texts(15));
    call.batch(16, texts(10, 16));
    await call.heard();
    expect(call.rejections()).toEqual([[CREDIT_EXCEEDED, 21, 21, false]]);
    await lock.release();
    await call.durable(20);
    expect(await stored(server.acme, workflowId)).toEqual(texts(20));
  });

  test("of bytes: 4 MiB of payload may be outstanding, and not a byte more", async () => {
    const { workflowId, call } = await begin(server.acme, { ackLevel: AckLevel.ACCEPTED });
    const large = "x".repeat(MiB);
    const lock = await holdStreams(server.database.url, workflowId);
    for (let n = 1; n <= 4; n++) call.batch(n, [large]);
    expect(await call.accepted(4)).toMatchObject({ credit: 996, creditBytes: 0n });
    call.batch(5, ["x"]);
    await call.heard();
    expect(call.rejections()).toEqual([[CREDIT_EXCEEDED, 5, 5, false]]);
    await lock.release();
    expect(await call.durable(4)).toMatchObject({ creditBytes: BigInt(4 * MiB) });
    call.batch(5, ["x"]);
    await call.durable(5);
    checkAcks(call, (n) => (n === 5 ? 1 : MiB));
  });

  test("is not spent by what was refused or was there before", async () => {
    const { workflowId, call } = await begin(server.acme, { clientBufferSize: 10 });
    const lock = await holdStreams(server.database.url, workflowId);
    call.batch(1, texts(5));
    call.batch(1, texts(5));
    call.batch(50, texts(5, 50));
    call.batch(6, texts(5, 6));
    await call.heard();
    expect(call.rejections().map(([code]) => code)).toEqual([
      RejectionCode.SEQUENCE_DUPLICATE,
      RejectionCode.SEQUENCE_GAP,
    ]);
    await lock.release();
    await call.durable(10);
  });
});

test("a preferred rate bounds the acks a second until it is cleared", async () => {
  const { call } = await begin(server.acme);
  call.say("flow", { action: FlowAction.SLOW_DOWN, preferredRate: 4 });
  await call.nth("status", 1);
  const began = Date.now();
  let sent = 0;
  // As long as it takes for six acks at four a second; without the bound each of the batches would have its own.
  await until(() => {
    sent++;
    call.batch(sent, [`${sent}`]);
    expect(call.all("ack").length).toBeGreaterThanOrEqual(6);
  });
  const seconds = (Date.now() - began) / 1000;
  expect(call.all("ack").length / seconds).toBeLessThanOrEqual(4 * 1.5);
  call.say("flow", { action: FlowAction.SPEED_UP, preferredRate: 0 });
  await call.nth("status", 2);
  await call.durable(sent);
  const before = call.all("ack").length;
  for (let n = 1; n <= 20; n++) {
    call.batch(sent + n, ["fast"]);
    await call.durable(sent + n);
  }
  expect(call.all("ack").length - before).toBeGreaterThanOrEqual(20);
});

test("a rate of next to nothing holds up neither the store nor a close, which tells the numbers", async () => {
  const { workflowId, call } = await begin(server.acme);
  call.say("flow", { action: FlowAction.SLOW_DOWN, preferredRate: 0.0001 });
  for (let n = 1; n <= 50; n++) call.batch(n, [`${n}`]);
  call.say("close", { drain: true, lastSequence: 50n });
  expect(await call.closed()).toMatchObject({ finalSequence: 50n, lastOffset: 51n });
  // One to begin with, and what the close flushes.
  expect(call.all("ack").length).toBeLessThanOrEqual(5);
  expect(await stored(server.acme, workflowId)).toEqual(texts(50));
});
