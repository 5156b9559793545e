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
import type { SentEvent } from "../core/batch.ts";
import { type Payload, payloadSize } from "../core/event.ts";
import { tags } from "./event-tags.ts";
import { encodeLaidOut } from "./laid-out-events.ts";
import { delimited, Output, varintSize } from "./wire-output.ts";
import { lengthDelimited } from "./wire-tag.ts";

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
    const batch = encodeLaidOut(events);
    frame = batch === undefined ? encode(events) : frameOf(batch);
    frames.set(events, frame);
  }
  return frame;
}

/** The field `message` of a streaming answer, a StreamMessage with these events. `no` is 1, or 2 where a label is before it. */
export function encodeEvents(events: readonly SentEvent[], no: 1 | 2 = 1): UnknownField[] {
  return [{ no, wireType: lengthDelimited, data: encodeFrame(events).subarray(headSize) }];
}

/** A frame up to the content of its batch. */
function beginFrame(batchSize: number): Output {
  const messageSize = delimited(batchSize);
  const fieldSize = varintSize(messageSize) + messageSize;
  const out = new Output(headSize + fieldSize);
  out.envelope(1 + fieldSize);
  out.varint((1 << 3) | lengthDelimited);
  out.varint(messageSize);
  out.header(tags.events, batchSize);
  return out;
}

function frameOf(batch: Buffer): Buffer {
  const out = beginFrame(batch.byteLength);
  out.raw(batch);
  return out.bytes;
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
  const out = beginFrame(batchSize);
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
    writePayload(out, event.payload, payloadSizes[i] as number);
    out.number(tags.timestampMs, event.timestampMs);
    out.number(tags.recordedMs, event.recordedMs);
    out.text(tags.producerId, event.producerId);
    out.number(tags.replaced, event.replaced ?? 0);
    if (event.traceparent !== undefined) out.text(tags.traceparent, event.traceparent);
  }
  return out.bytes;
}

function writePayload(out: Output, payload: Payload, size: number): void {
  if (payload === undefined) return;
  const isText = typeof payload === "string";
  out.header(isText ? tags.text : tags.binary, size);
  if (isText) out.longText(payload, size);
  else out.raw(payload);
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

/** Empty text and 0 are not written (proto3). */
const textSize = (text: string): number => (text === "" ? 0 : delimited(Buffer.byteLength(text)));
const numberSize = (value: number): number => (value === 0 ? 0 : 1 + varintSize(value));
