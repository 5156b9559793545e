/**
 * The binary decoding of what is published: messages of PublishTaskEvents as nearly all are. The counterpart of
 * encoded-events.ts, for the same reason: the generated decoder, which looks every field of every event up by reflection, took a sixth
 * of the server's time at 100 events a message.
 *
 * Whatever is not plain (a field that is not known here, a number beyond 49 bits, bytes that are no UTF-8, an end in the
 * middle) is not decided here: `undefined`, and the generated decoder reads the message, or says what is wrong with it. A test compares
 * the two for random and for mutilated messages.
 */
import type { EventType } from "../../gen/tributary/v1/event_pb.ts";
import {
  type PublishTaskEventsRequest,
  PublishTaskEventsRequestSchema,
  type TaskEvent,
  TaskEventSchema,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { lengthDelimited, tagOf, varint } from "./wire-tag.ts";

const request = {
  events: tagOf(PublishTaskEventsRequestSchema, "events", lengthDelimited),
  producerId: tagOf(PublishTaskEventsRequestSchema, "producer_id", lengthDelimited),
};

const event = {
  workflowId: tagOf(TaskEventSchema, "workflow_id", lengthDelimited),
  taskExecutionId: tagOf(TaskEventSchema, "task_execution_id", lengthDelimited),
  sequence: tagOf(TaskEventSchema, "sequence", varint),
  type: tagOf(TaskEventSchema, "type", varint),
  text: tagOf(TaskEventSchema, "text", lengthDelimited),
  binary: tagOf(TaskEventSchema, "binary", lengthDelimited),
  timestampMs: tagOf(TaskEventSchema, "timestamp_ms", varint),
  traceparent: tagOf(TaskEventSchema, "traceparent", lengthDelimited),
};

/** Of an enum that is larger only 32 bits count. */
const largestType = 2 ** 31 - 1;

export function decodePublishTaskEvents(bytes: Buffer): PublishTaskEventsRequest | undefined {
  const input = new Input(bytes);
  const message: PublishTaskEventsRequest = {
    $typeName: PublishTaskEventsRequestSchema.typeName,
    events: [],
    producerId: "",
  };
  let last: TaskEvent | undefined;
  while (input.at < bytes.length) {
    const tag = bytes[input.at++];
    const size = input.number();
    const end = input.at + size;
    // A size that was none is not smaller than anything, and not larger.
    if (!(end <= bytes.length)) return undefined;
    if (tag === request.events) {
      last = decodeEvent(input, end, last);
      if (last === undefined) return undefined;
      message.events.push(last);
    } else if (tag === request.producerId) {
      const text = input.text(end);
      if (text === undefined) return undefined;
      message.producerId = text;
    } else return undefined;
  }
  return message;
}

/** Until one is found. Nobody changes a message's payload. */
const noPayload: TaskEvent["payload"] = Object.freeze({ case: undefined });

/** `last`: the event before it, which mostly is of the same task. */
function decodeEvent(input: Input, end: number, last: TaskEvent | undefined): TaskEvent | undefined {
  const message: TaskEvent = {
    $typeName: TaskEventSchema.typeName,
    workflowId: "",
    taskExecutionId: "",
    sequence: 0n,
    type: 0,
    payload: noPayload,
    timestampMs: 0n,
    traceparent: "",
  };
  const { bytes } = input;
  while (input.at < end) {
    const tag = bytes[input.at++];
    const value = input.number();
    if (tag === event.type) {
      if (!(value <= largestType)) return undefined;
      message.type = value as EventType;
      continue;
    }
    if (tag === event.sequence || tag === event.timestampMs) {
      if (Number.isNaN(value)) return undefined;
      if (tag === event.sequence) message.sequence = value === 0 ? 0n : BigInt(value);
      else message.timestampMs = value === 0 ? 0n : BigInt(value);
      continue;
    }
    const valueEnd = input.at + value;
    if (!(valueEnd <= end)) return undefined;
    if (tag === event.binary) {
      message.payload = { case: "binary", value: bytes.subarray(input.at, valueEnd) };
      input.at = valueEnd;
      continue;
    }
    const known =
      tag === event.workflowId
        ? last?.workflowId
        : tag === event.taskExecutionId
          ? last?.taskExecutionId
          : undefined;
    const text = input.text(valueEnd, known);
    if (text === undefined) return undefined;
    if (tag === event.text) message.payload = { case: "text", value: text };
    else if (tag === event.workflowId) message.workflowId = text;
    else if (tag === event.taskExecutionId) message.taskExecutionId = text;
    else if (tag === event.traceparent) message.traceparent = text;
    else return undefined;
  }
  return input.at === end ? message : undefined;
}

class Input {
  readonly bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** A varint of at most seven bytes, hence exact; NaN: longer, or cut off. */
  number(): number {
    const { bytes } = this;
    let byte = bytes[this.at++];
    if (byte === undefined) return Number.NaN;
    if (byte < 128) return byte;
    let value = byte & 127;
    for (let scale = 128; scale < 2 ** 49; scale *= 128) {
      byte = bytes[this.at++];
      if (byte === undefined) return Number.NaN;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    return Number.NaN;
  }

  /** The bytes up to `end` as text. undefined: they are none, or hold the sign that stands for what is none. `known`: may be the same again. */
  text(end: number, known?: string): string | undefined {
    const { bytes, at } = this;
    this.at = end;
    if (known !== undefined && isSame(bytes, at, end, known)) return known;
    const text = bytes.toString("utf8", at, end);
    return text.includes("\ufffd") ? undefined : text;
  }
}

/** True for ASCII alone: of other text bytes and characters differ. */
function isSame(bytes: Buffer, from: number, to: number, text: string): boolean {
  if (text.length !== to - from) return false;
  for (let i = from; i < to; i++) {
    const byte = bytes[i] as number;
    if (byte > 127 || byte !== text.charCodeAt(i - from)) return false;
  }
  return true;
}
