/** The encoder by hand against the generated one. */
import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { EventSchema } from "../../gen/tributary/v1/event_pb.ts";
import {
  MultiplexResponseSchema,
  StreamManyResponseSchema,
  StreamTaskResponseSchema,
} from "../../gen/tributary/v1/event_stream_service_pb.ts";
import type { SentEvent } from "../../server/core/batch.ts";
import { toStreamMessage } from "../../server/rpc/conversions.ts";
import { encodeEvents } from "../../server/rpc/encoded-events.ts";
import { varintEdges } from "../support/varint-edges.ts";

const count = fc.oneof(fc.constantFrom(...varintEdges), fc.maxSafeNat());
const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.constantFrom("", "\u0000", "\ud800", "é".repeat(64), "x".repeat(128), "🦊"),
);
const event: fc.Arbitrary<SentEvent> = fc.record(
  {
    workflowId: fc.oneof(fc.uuid(), fc.constant("")),
    taskExecutionId: text,
    producerId: text,
    sequence: count,
    offset: count,
    type: fc.constantFrom(1, 9, 24, 40),
    payload: fc.oneof(fc.constant(undefined), text, fc.uint8Array({ maxLength: 300 })),
    timestampMs: count,
    recordedMs: count,
    replaced: fc.oneof(fc.constantFrom(0, 127, 128, 2 ** 31, 2 ** 32 - 1), fc.nat()),
    traceparent: fc.oneof(
      fc.constant(undefined),
      fc
        .tuple(fc.bigInt(1n, 2n ** 128n - 1n), fc.bigInt(1n, 2n ** 64n - 1n))
        .map(
          ([trace, span]) =>
            `00-${trace.toString(16).padStart(32, "0")}-${span.toString(16).padStart(16, "0")}-01`,
        ),
    ),
  },
  {
    requiredKeys: [
      "workflowId",
      "taskExecutionId",
      "producerId",
      "sequence",
      "offset",
      "type",
      "payload",
      "timestampMs",
      "recordedMs",
    ],
  },
);

/** Some of the task of the one before. */
const eventsUpTo = (maxLength: number) =>
  fc.array(fc.tuple(event, fc.boolean()), { maxLength }).map((drawn) => {
    const events: SentEvent[] = [];
    for (const [one, isOfLast] of drawn) {
      const { workflowId, taskExecutionId } = (isOfLast && events.at(-1)) || one;
      events.push({ ...one, workflowId, taskExecutionId });
    }
    return events;
  });

test("the bytes are those of the generated encoder, for whatever events", () => {
  fc.assert(
    fc.property(eventsUpTo(20), (events) => {
      const byHand = create(StreamTaskResponseSchema);
      byHand.$unknown = encodeEvents(events);
      const generated = create(StreamTaskResponseSchema, {
        message: toStreamMessage({ kind: "events", events }),
      });
      expect(
        Buffer.compare(
          toBinary(StreamTaskResponseSchema, byHand),
          toBinary(StreamTaskResponseSchema, generated),
        ),
      ).toBe(0);
    }),
    { numRuns: 500 },
  );
});

test.each([
  ["StreamManyResponse", StreamManyResponseSchema],
  ["MultiplexResponse", MultiplexResponseSchema],
] as const)("behind a label, too: %s", (_, schema) => {
  fc.assert(
    fc.property(eventsUpTo(5), text, (events, label) => {
      const byHand = create(schema, { label });
      byHand.$unknown = encodeEvents(events, 2);
      const generated = create(schema, {
        label,
        result: { case: "message", value: toStreamMessage({ kind: "events", events }) },
      });
      expect(Buffer.compare(toBinary(schema, byHand), toBinary(schema, generated))).toBe(0);
    }),
    { numRuns: 200 },
  );
});

test("a batch is encoded once, whoever gets it and behind whatever label", () => {
  const events: SentEvent[] = [];
  const [alone, again, labelled] = [encodeEvents(events), encodeEvents(events), encodeEvents(events, 2)];
  expect(alone[0]?.data.buffer).toBe(again[0]?.data.buffer);
  expect(alone[0]?.data.buffer).toBe(labelled[0]?.data.buffer);
});

test("no field of Event is unknown to the encoder", () => {
  expect(EventSchema.fields.map(({ name }) => name)).toEqual([
    "workflow_id",
    "task_execution_id",
    "offset",
    "sequence",
    "type",
    "text",
    "binary",
    "timestamp_ms",
    "recorded_ms",
    "producer_id",
    "replaced",
    "traceparent",
  ]);
});
