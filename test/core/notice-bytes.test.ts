/** Notices as bytes: what is read is what was written, whatever it is; and whatever else comes harms nothing. */
import { describe, expect, test } from "vitest";
import { fromBytes, toBytes } from "../../server/bus/notice-bytes.ts";
import type { StoredEvent } from "../../server/core/event.ts";
import type { Notice } from "../../server/core/ports.ts";
import { newId } from "../support/database.ts";
import { Random, seeds } from "../support/random.ts";

const streamId = newId();
const most = 1024 * 1024;

const entryAt = (offset: number, more: Partial<StoredEvent> = {}): StoredEvent => ({
  workflowId: "0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6",
  taskExecutionId: "t",
  producerId: "",
  sequence: 0,
  type: 1,
  payload: "x",
  timestampMs: 1,
  offset,
  recordedMs: 2,
  ...more,
});

const noticeOf = (entries: readonly StoredEvent[]): Notice => ({
  streamId,
  from: entries[0]?.offset ?? 1,
  to: entries.at(-1)?.offset ?? 1,
  entries,
});

/** As the other side has it. */
const pass = (notice: Notice, mostBytes = most): (Notice | undefined)[] =>
  toBytes(notice, mostBytes).map((bytes) => fromBytes(streamId, bytes));

function randomEntry(random: Random, offset: number, workflows: readonly string[]): StoredEvent {
  const text = () => random.pick(["", "x", "tä 🎈", "y".repeat(random.below(5000)), '{"a":1}']);
  return entryAt(offset, {
    workflowId: random.pick(workflows),
    taskExecutionId: random.pick(["", "t", "task ü"]),
    producerId: random.pick(["", "p", newId()]),
    sequence: random.pick([0, 1, random.below(1000), 2 ** 53 - 1]),
    type: random.pick([1, 2, 40]),
    payload: random.pick([undefined, text(), new Uint8Array(0), Uint8Array.from([0, 1, 255]), text()]),
    timestampMs: random.pick([0, 1, 1_800_000_000_000, 2 ** 53 - 1]),
    recordedMs: random.pick([0, 1_800_000_000_000]),
    ...(random.chance(0.3)
      ? { traceparent: `00-${"ab".repeat(16)}-00f067aa0ba902b${random.below(3)}-01` }
      : {}),
    ...(random.chance(0.3)
      ? {
          observation: {
            observationId: newId(),
            metadata: '{"k":"ä"}',
            confidence: random.next(),
            importance: 0.1 + 0.2,
            observedMs: random.below(1e9),
          },
        }
      : {}),
  });
}

describe.each(seeds(5))("with seed %i", (seed) => {
  test(`random entries come as they were, in as few messages as fit (repeat it with TRIBUTARY_SEED=${seed})`, () => {
    const random = new Random(seed);
    for (let round = 0; round < 200; round++) {
      const workflows = [newId(), newId(), newId()];
      const first = 1 + random.below(2 ** 40);
      const entries = Array.from({ length: 1 + random.below(40) }, (_, i) =>
        randomEntry(random, first + i, workflows),
      );
      const notice = noticeOf(entries);
      expect(pass(notice)).toEqual([notice]);
      const bound = 8000 + random.below(20_000);
      const parts = pass(notice, bound) as Notice[];
      expect(parts.flatMap((part) => part.entries ?? [])).toEqual(entries);
      expect(parts[0]?.from).toBe(notice.from);
      expect(parts.at(-1)?.to).toBe(notice.to);
      for (const [i, part] of parts.entries()) if (i > 0) expect(part.from).toBe((parts[i - 1]?.to ?? 0) + 1);
      for (const message of toBytes(notice, bound)) expect(message.length).toBeLessThanOrEqual(bound);
    }
  });

  test(`bytes that were cut, changed or made up are never an exception (repeat it with TRIBUTARY_SEED=${seed})`, () => {
    const random = new Random(seed);
    const entries = Array.from({ length: 20 }, (_, i) => randomEntry(random, 100 + i, [newId(), newId()]));
    const [good] = toBytes(noticeOf(entries), most) as [Uint8Array];
    for (let round = 0; round < 3000; round++) {
      const bytes = random.chance(0.2)
        ? Uint8Array.from({ length: random.below(300) }, () => random.below(256))
        : good.slice(0, random.chance(0.5) ? random.below(good.length) : good.length);
      for (let i = random.below(4); i > 0 && bytes.length > 0; i--)
        bytes[random.below(bytes.length)] = random.below(256);
      const notice = fromBytes(streamId, bytes);
      if (notice === undefined) continue;
      expect(notice.from).toBeGreaterThanOrEqual(1);
      expect(notice.to).toBeGreaterThanOrEqual(notice.from);
      for (const { offset } of notice.entries ?? []) {
        expect(offset).toBeGreaterThanOrEqual(notice.from);
        expect(offset).toBeLessThanOrEqual(notice.to);
      }
    }
  });
});

test("every message that is cut short is refused, wherever it was cut", () => {
  const [good] = toBytes(noticeOf([entryAt(1), entryAt(2, { payload: Uint8Array.of(1, 2) })]), most) as [
    Uint8Array,
  ];
  for (let end = 0; end < good.length; end++) expect(fromBytes(streamId, good.slice(0, end))).toBeUndefined();
  expect(fromBytes(streamId, Uint8Array.of(...good, 0))).toBeUndefined();
  expect(fromBytes(streamId, good)).toBeDefined();
});

test("an entry that is too large for any message is told without it, and so is what comes after", () => {
  const entries = [entryAt(1), entryAt(2), entryAt(3, { payload: "x".repeat(most) }), entryAt(4)];
  expect(pass(noticeOf(entries))).toEqual([
    { streamId, from: 1, to: 2, entries: entries.slice(0, 2) },
    { streamId, from: 3, to: 4, entries: undefined },
  ]);
});

test("a notice without entries, and one for which there is no room, keep their range", () => {
  const bare = { streamId, from: 5, to: 2 ** 53 - 1, entries: undefined };
  expect(pass(bare)).toEqual([bare]);
  expect(pass(noticeOf([entryAt(7), entryAt(8)]), 0)).toEqual([{ ...bare, from: 7, to: 8 }]);
});

test("of another version the range is read, and nothing else", () => {
  const [bytes] = toBytes(noticeOf([entryAt(7), entryAt(8)]), most) as [Uint8Array];
  bytes[0] = 3;
  expect(fromBytes(streamId, bytes)).toEqual({ streamId, from: 7, to: 8, entries: undefined });
});

test("only a message with a trace context says version 2, which an older instance takes for one without entries", () => {
  const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const versionOf = (entries: StoredEvent[]) => toBytes(noticeOf(entries), most)[0]?.[0];
  expect(versionOf([entryAt(1), entryAt(2)])).toBe(1);
  expect(versionOf([entryAt(1), entryAt(2, { traceparent })])).toBe(2);
});

test("bytes of an entry are a copy, which does not keep the message it came in", () => {
  const [bytes] = toBytes(noticeOf([entryAt(1, { payload: Uint8Array.of(1, 2) })]), most) as [Uint8Array];
  const payload = fromBytes(streamId, bytes)?.entries?.[0]?.payload as Uint8Array;
  expect(payload.constructor).toBe(Uint8Array);
  expect(payload.buffer.byteLength).toBe(2);
});
