/**
 * The binary encoding of the messages that carry events, made once for all readers that get the same batch. Equal in
 * meaning to `toBinary` of the generated schema (a test compares the two for random events); nothing else is encoded here.
 *
 * By hand because it is the one thing done for every event and reader: the generated encoder walks a message object per
 * event, with a bigint for each number, which took half of the server's time in a replay. The bytes reach Connect as an
 * unknown field of the answer, which is written as it stands, so framing, compression and protocols stay Connect's.
 * JSON has no place for such bytes: callers that answer in JSON use `toStreamMessage`.
 */
import type { UnknownField } from "@bufbuild/protobuf";
import { EventBatchSchema, EventSchema, StreamMessageSchema } from "../../gen/tributary/v1/event_pb.ts";
import type { SentEvent } from "../core/batch.ts";
import { type Payload, payloadSize } from "../core/event.ts";
import { lengthDelimited, tagOf, varint } from "./wire-tag.ts";

const tags = {
  events: tagOf(StreamMessageSchema, "events", lengthDelimited),
  event: tagOf(EventBatchSchema, "events", lengthDelimited),
  workflowId: tagOf(EventSchema, "workflow_id", lengthDelimited),
  taskExecutionId: tagOf(EventSchema, "task_execution_id", lengthDelimited),
  offset: tagOf(EventSchema, "offset", varint),
  sequence: tagOf(EventSchema, "sequence", varint),
  type: tagOf(EventSchema, "type", varint),
  text: tagOf(EventSchema, "text", lengthDelimited),
  binary: tagOf(EventSchema, "binary", lengthDelimited),
  timestampMs: tagOf(EventSchema, "timestamp_ms", varint),
  recordedMs: tagOf(EventSchema, "recorded_ms", varint),
  producerId: tagOf(EventSchema, "producer_id", lengthDelimited),
  replaced: tagOf(EventSchema, "replaced", varint),
  traceparent: tagOf(EventSchema, "traceparent", lengthDelimited),
};

/** A message with its envelope, which gRPC, gRPC-Web and Connect have in common. */
export function envelope(message: Uint8Array, flags = 0): Buffer {
  const out = new Output(5 + message.byteLength);
  out.envelope(message.byteLength, flags);
  out.raw(message);
  return out.bytes;
}

/** Before the message in a frame: no flag, its length in four bytes, and the tag of the answer's first field. */
const headSize = 6;

const frames = new WeakMap<readonly SentEvent[], Buffer>();

/** A whole message of a streaming answer whose first field is a StreamMessage, with its envelope. */
export function encodeFrame(events: readonly SentEvent[]): Buffer {
  let frame = frames.get(events);
  if (frame === undefined) {
    frame = encode(events);
    frames.set(events, frame);
  }
  return frame;
}

/** The field `message` of a streaming answer, a StreamMessage with these events. `no` is 1, or 2 where a label is before it. */
export function encodeEvents(events: readonly SentEvent[], no: 1 | 2 = 1): UnknownField[] {
  return [{ no, wireType: lengthDelimited, data: encodeFrame(events).subarray(headSize) }];
}

function encode(events: readonly SentEvent[]): Buffer {
  const payloadSizes = events.map(({ payload }) => payloadSize(payload));
  let last: SentEvent | undefined;
  let ids = 0;
  const sizes = events.map((event, i) => {
    if (!hasIdsOf(event, last)) ids = idsSize(event);
    last = event;
    return ids + eventSize(event, payloadSizes[i] as number);
  });
  let batchSize = 0;
  for (const size of sizes) batchSize += delimited(size);
  const messageSize = delimited(batchSize);
  const fieldSize = varintSize(messageSize) + messageSize;
  const out = new Output(headSize + fieldSize);
  out.envelope(1 + fieldSize);
  out.varint((1 << 3) | lengthDelimited);
  out.varint(messageSize);
  out.header(tags.events, batchSize);
  last = undefined;
  let idsAt = 0;
  for (let i = 0; i < events.length; i++) {
    const event = events[i] as SentEvent;
    out.header(tags.event, sizes[i] as number);
    const at = out.size;
    if (hasIdsOf(event, last)) out.again(idsAt, ids);
    else {
      out.text(tags.workflowId, event.workflowId);
      out.text(tags.taskExecutionId, event.taskExecutionId);
      ids = out.size - at;
    }
    idsAt = at;
    last = event;
    out.number(tags.offset, event.offset);
    out.number(tags.sequence, event.sequence);
    out.number(tags.type, event.type);
    out.payload(event.payload, payloadSizes[i] as number);
    out.number(tags.timestampMs, event.timestampMs);
    out.number(tags.recordedMs, event.recordedMs);
    out.text(tags.producerId, event.producerId);
    out.number(tags.replaced, event.replaced ?? 0);
    if (event.traceparent !== undefined) out.text(tags.traceparent, event.traceparent);
  }
  return out.bytes;
}

/** Most events of a page are of the task of the one before: its name is measured and encoded once. */
const hasIdsOf = (event: SentEvent, last: SentEvent | undefined): boolean =>
  last !== undefined &&
  event.workflowId === last.workflowId &&
  event.taskExecutionId === last.taskExecutionId;

const idsSize = ({ workflowId, taskExecutionId }: SentEvent): number =>
  textSize(workflowId) + textSize(taskExecutionId);

/** Without what names its task. */
function eventSize(event: SentEvent, payloadBytes: number): number {
  return (
    numberSize(event.offset) +
    numberSize(event.sequence) +
    numberSize(event.type) +
    (event.payload === undefined ? 0 : delimited(payloadBytes)) +
    numberSize(event.timestampMs) +
    numberSize(event.recordedMs) +
    textSize(event.producerId) +
    numberSize(event.replaced ?? 0) +
    (event.traceparent === undefined ? 0 : textSize(event.traceparent))
  );
}

/** Bytes of a field of so many bytes: tag, length, content. */
export const delimited = (size: number): number => 1 + varintSize(size) + size;

/** Empty text and 0 are not written (proto3). */
const textSize = (text: string): number => (text === "" ? 0 : delimited(Buffer.byteLength(text)));
const numberSize = (value: number): number => (value === 0 ? 0 : 1 + varintSize(value));

/** Bytes of an integer from 0 to 2^53-1. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++;
  return size;
}

/** Bytes of a size that is known before. */
export class Output {
  readonly bytes: Buffer;
  #at = 0;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafe(size);
  }

  envelope(size: number, flags = 0): void {
    this.bytes[this.#at] = flags;
    this.bytes.writeUInt32BE(size, this.#at + 1);
    this.#at += 5;
  }

  varint(value: number): void {
    let rest = value;
    // Division until the bit operators, which know 32 bits, can go on.
    for (; rest > 0x7fffffff; rest = Math.floor(rest / 128)) this.bytes[this.#at++] = (rest % 128) | 128;
    for (; rest >= 128; rest >>>= 7) this.bytes[this.#at++] = (rest & 127) | 128;
    this.bytes[this.#at++] = rest;
  }

  header(tag: number, size: number): void {
    this.bytes[this.#at++] = tag;
    this.varint(size);
  }

  /** Bytes written so far. */
  get size(): number {
    return this.#at;
  }

  /** The same bytes again that were written from there on. */
  again(from: number, size: number): void {
    this.bytes.copyWithin(this.#at, from, from + size);
    this.#at += size;
  }

  raw(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.byteLength;
  }

  number(tag: number, value: number): void {
    if (value !== 0) this.header(tag, value);
  }

  /** Short and mostly ASCII: a loop is cheaper than a call into the runtime. */
  text(tag: number, text: string): void {
    if (text === "") return;
    const size = Buffer.byteLength(text);
    this.header(tag, size);
    if (size === text.length) {
      for (let i = 0; i < size; i++) this.bytes[this.#at++] = text.charCodeAt(i);
    } else {
      this.#at += this.bytes.write(text, this.#at, "utf8");
    }
  }

  payload(payload: Payload, size: number): void {
    if (payload === undefined) return;
    this.header(typeof payload === "string" ? tags.text : tags.binary, size);
    if (typeof payload === "string") this.bytes.write(payload, this.#at, "utf8");
    else this.bytes.set(payload, this.#at);
    this.#at += size;
  }
}
