/** Rows of a page as events: what they say, and that their bytes make the message that the same events make as objects. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { RowBytes } from "../../db/binary-row.ts";
import { StoredRow } from "../../db/statements/stored-row.ts";
import type { StoredEvent } from "../../server/core/event.ts";
import { copyOf } from "../../server/core/event-layout.ts";
import { encodeFrame } from "../../server/rpc/encoded-events.ts";
import { varintEdges } from "../support/varint-edges.ts";

const column = (bytes: Uint8Array | undefined): Buffer => {
  const head = Buffer.alloc(4);
  head.writeInt32BE(bytes === undefined ? -1 : bytes.byteLength);
  return bytes === undefined ? head : Buffer.concat([head, bytes]);
};
const int8 = (value: number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return column(bytes);
};
const int2 = (value: number) => column(Buffer.from([value >> 8, value & 255]));

function toRow(event: StoredEvent): Buffer {
  const { workflowId, payload, traceparent } = event;
  return Buffer.concat([
    Buffer.from([0, 11]),
    int2(event.type),
    int8(event.offset),
    int8(event.sequence),
    int8(event.timestampMs),
    int8(event.recordedMs),
    column(workflowId === "" ? undefined : Buffer.from(workflowId.replaceAll("-", ""), "hex")),
    column(Buffer.from(event.taskExecutionId)),
    column(Buffer.from(event.producerId)),
    column(
      traceparent === undefined ? undefined : Buffer.from(traceparent.slice(3).replaceAll("-", ""), "hex"),
    ),
    column(payload === undefined ? undefined : Buffer.from([typeof payload === "string" ? 1 : 0])),
    column(typeof payload === "string" ? Buffer.from(payload) : payload),
  ]);
}

/** All rows in one buffer, with something between. */
function toRows(events: readonly StoredEvent[]): StoredRow[] {
  const bytes: Buffer[] = [];
  const starts: number[] = [];
  let at = 0;
  for (const event of events) {
    const row = Buffer.concat([Buffer.from("DDDDD"), toRow(event)]);
    starts.push(at + 5);
    at += row.length;
    bytes.push(row);
  }
  const of = new RowBytes(Buffer.concat(bytes));
  return starts.map((start, i) => new StoredRow({ of, start, end: (starts[i + 1] ?? at + 5) - 5 }));
}

const count = fc.oneof(fc.constantFrom(...varintEdges), fc.maxSafeNat());
/** Postgres keeps no half of a surrogate pair and no NUL in text. */
const text = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.constantFrom("", "é", "Ã©", "é".repeat(64), "x".repeat(128), "🦊", "x".repeat(600)),
);
/** Sizes around which the length of an event takes a byte more, and around what is copied in one piece. */
const sizes = fc.oneof(fc.nat(300), fc.constantFrom(511, 512, 513, 16_200, 16_383, 16_384, 70_000));
const payload = fc.oneof(
  fc.constant(undefined),
  text,
  sizes.map((size) => "x".repeat(size)),
  sizes.map((size) => Buffer.alloc(size, 200)),
);
const trace = fc
  .tuple(fc.bigInt(1n, 2n ** 128n - 1n), fc.bigInt(1n, 2n ** 64n - 1n), fc.nat(255))
  .map(
    (parts) =>
      `00-${parts.map((part, i) => part.toString(16).padStart([32, 16, 2][i] as number, "0")).join("-")}`,
  );
const event: fc.Arbitrary<StoredEvent> = fc.record({
  workflowId: fc.oneof(fc.uuid(), fc.constant("")),
  taskExecutionId: text,
  producerId: text,
  sequence: count,
  offset: count,
  type: fc.constantFrom(1, 9, 24, 40, 127, 128, 32_767),
  payload,
  timestampMs: count,
  recordedMs: count,
  traceparent: fc.option(trace, { nil: undefined }),
});
/** Some of the task, or of the workflow, of the one before. */
const events = fc
  .array(fc.tuple(event, fc.constantFrom("task", "workflow", "other")), { maxLength: 12 })
  .map((drawn) => {
    const all: StoredEvent[] = [];
    for (const [one, kept] of drawn) {
      const last = all.at(-1);
      all.push({
        ...one,
        ...(last !== undefined && kept !== "other" ? { workflowId: last.workflowId } : {}),
        ...(last !== undefined && kept === "task" ? { taskExecutionId: last.taskExecutionId } : {}),
      });
    }
    return all;
  });

test("a row says what was stored, and its bytes make the same message", () => {
  fc.assert(
    fc.property(events, (stored) => {
      const rows = toRows(stored);
      expect(rows.map(copyOf)).toEqual(stored);
      expect(Buffer.compare(encodeFrame(rows), encodeFrame(stored))).toBe(0);
    }),
    { numRuns: 500 },
  );
});

test("rows and objects in one batch make the same message, too", () => {
  fc.assert(
    fc.property(events, (stored) => {
      const mixed = toRows(stored).map((row, i) => (i % 2 === 0 ? row : (stored[i] as StoredEvent)));
      expect(Buffer.compare(encodeFrame(mixed), encodeFrame(stored))).toBe(0);
    }),
    { numRuns: 50 },
  );
});

const least: StoredEvent = {
  workflowId: "11111111-2222-3333-4444-555555555555",
  taskExecutionId: "",
  producerId: "",
  sequence: 0,
  offset: 1,
  type: 1,
  payload: undefined,
  timestampMs: 0,
  recordedMs: 0,
};

test("more than what the encoder has room for at first", () => {
  const one: StoredEvent = { ...least, taskExecutionId: "task", payload: "y".repeat(100_000) };
  const stored = Array.from({ length: 12 }, (_, i) => ({ ...one, offset: 1 + i }));
  const frame = encodeFrame(toRows(stored));
  // What was given out before stays as it is when the next one is written.
  const before = Buffer.from(frame);
  encodeFrame(toRows([{ ...one, payload: "z" }]));
  expect(Buffer.compare(frame, before)).toBe(0);
  expect(Buffer.compare(frame, encodeFrame(stored))).toBe(0);
});

test("a payload that is not there is told from one that is empty and from none", () => {
  const one: StoredEvent = { ...least, payload: "" };
  const [empty, none] = toRows([one, { ...one, payload: undefined }]);
  const withheld = Buffer.concat([toRow(one).subarray(0, -4), Buffer.alloc(4, 255)]);
  const row = new StoredRow({ of: new RowBytes(withheld), start: 0, end: withheld.length });
  expect([empty?.isWithheld, none?.isWithheld, row.isWithheld]).toEqual([false, false, true]);
});
