/** What is decoded by hand is what the generated decoder makes of the same bytes; what it refuses is never decoded by hand. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import type { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { PublishTaskEventsRequestSchema as schema } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { decodePublishTaskEvents } from "../../server/rpc/decoded-events.ts";
import { toProto } from "../fuzz/encode-proto.ts";
import { grow } from "../fuzz/messages.ts";
import { mutateBytes } from "../fuzz/mutate-bytes.ts";
import { Random, seeds } from "../support/random.ts";

const rounds = 3000;
const [seed = 0] = seeds(1);

/** undefined: it is refused. */
function generated(bytes: Buffer) {
  try {
    return fromBinary(schema, bytes);
  } catch {
    return undefined;
  }
}

const ids = { workflowId: "0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6", taskExecutionId: "task-1" };

describe(`with seed ${seed}`, () => {
  test.each([
    ["sound", 0, false],
    ["odd", 0.3, false],
    ["mutilated", 0.1, true],
  ] as const)("%s messages", (_name, rate, isMutilated) => {
    const random = new Random(seed);
    let [byHand, accepted] = [0, 0];
    for (let i = 0; i < rounds; i++) {
      const sound = toProto(
        random,
        grow(random, schema, { odd: rate, mostBytes: 2000 }, random.chance(0.5)),
        rate,
      );
      const bytes = isMutilated ? mutateBytes(random, sound) : sound;
      const wanted = generated(bytes);
      const found = decodePublishTaskEvents(bytes);
      if (wanted !== undefined) accepted++;
      if (found === undefined) continue;
      byHand++;
      expect(found, bytes.toString("hex")).toEqual(wanted);
    }
    expect(byHand).toBeGreaterThan(accepted * (isMutilated ? 0.2 : rate === 0 ? 0.9 : 0.3));
  });
});

test.each([
  ["nothing", {}],
  [
    "events of one task and of several",
    { events: [ids, ids, { ...ids, taskExecutionId: "ü" }, { ...ids, taskExecutionId: "ü" }] },
  ],
  [
    "text of all kinds",
    {
      events: ["", "a", "äöü 🦊", "a\u0000b", "\ufeffmark", "x".repeat(100_000)].map((value) => ({
        ...ids,
        payload: { case: "text" as const, value },
      })),
    },
  ],
  [
    "bytes",
    {
      events: [new Uint8Array(0), new Uint8Array([0, 255])].map((value) => ({
        ...ids,
        payload: { case: "binary" as const, value },
      })),
    },
  ],
  [
    "numbers up to 2^49",
    {
      events: [1n, 127n, 128n, 2n ** 32n, 2n ** 49n - 1n].map((n) => ({
        ...ids,
        sequence: n,
        timestampMs: n,
        type: 11,
      })),
    },
  ],
  [
    "a producer and a trace",
    { producerId: "p", events: [{ ...ids, traceparent: `00-${"ab".repeat(16)}-${"cd".repeat(8)}-01` }] },
  ],
])("%s: decoded by hand", (_name, message) => {
  const bytes = Buffer.from(toBinary(schema, create(schema, message)));
  expect(decodePublishTaskEvents(bytes)).toEqual(fromBinary(schema, bytes));
});

test.each([
  ["a number beyond 49 bits", { events: [{ ...ids, sequence: 2n ** 49n }] }],
  ["the sign that stands for what is no text", { events: [{ ...ids, taskExecutionId: "\ufffd" }] }],
  ["a type below 0", { events: [{ ...ids, type: -1 as EventType }] }],
])("%s: left to the generated decoder", (_name, message) => {
  expect(decodePublishTaskEvents(Buffer.from(toBinary(schema, create(schema, message))))).toBeUndefined();
});

test.each([
  ["an end in the middle of an event", "0a050a0361"],
  ["an event that ends in the middle of a field", "0a030a0561620a"],
  ["text that is none", "0a030a01ff"],
  ["a number without an end", "0a0218ff"],
  ["a number that goes on after its event", "0a02188001"],
  ["a type of more than 31 bits", "0a06208080808008"],
  ["a byte that is as a character of the name before", "0a041202c3bc0a031201fc"],
  ["a size without an end", "0aff"],
  ["a tag alone", "0a"],
  ["a field that is not known", "1a0161"],
])("%s: not decoded by hand", (_name, hex) => {
  expect(decodePublishTaskEvents(Buffer.from(hex, "hex"))).toBeUndefined();
});
