/**
 * Events of pages as they go to the wire, made of the bytes that the store has read and nothing between. It is what
 * `encoded-events.ts` makes of the same events as objects (tests compare the two), at a third of the cost.
 *
 * Positions are passed on and returned, integers are read by views, and short parts are copied by four bytes: a method for each
 * byte, or a call into the runtime for each part, took three times as long.
 */
import type { SentEvent } from "../core/batch.ts";
import { EventLayout } from "../core/event-layout.ts";
import { tags } from "./event-tags.ts";
import { varintSize } from "./wire-output.ts";

/** Bytes of an event beside its texts and its payload, at most: five numbers, a UUID, a trace, their tags and lengths. */
const othersSize = 200;
/** Of a size up to 2^14 - 1: what most events have. */
const usualSizeBytes = 2;
/** Longer parts are copied by the runtime. */
const shortPart = 512;
const uuidChars = 36;
const hyphen = "-".charCodeAt(0);
const hexDigits = Buffer.from("0123456789abcdef");

const layout = new EventLayout();

/** Written to again for each batch, so as large as the largest one was. */
let bytes: Buffer;
let view: DataView;
grow(256 * 1024);

/** The content of an EventBatch, overwritten by the next one; undefined: not all of them lie in bytes. */
export function encodeLaidOut(events: readonly SentEvent[]): Buffer | undefined {
  let at = 0;
  const last = new LastIds();
  for (const event of events) {
    if (event.layOut === undefined) return undefined;
    event.layOut(layout);
    const { taskSize, producerSize, payloadSize } = layout;
    const most = at + othersSize + taskSize + producerSize + payloadSize;
    if (most > bytes.length) grow(most);
    bytes[at++] = tags.event;
    const sizeAt = at;
    at += usualSizeBytes;
    at = last.write(at);
    at = putInt8(at, tags.offset, layout.offsetAt);
    at = putInt8(at, tags.sequence, layout.sequenceAt);
    bytes[at++] = tags.type;
    at = putVarint(at, layout.view.getInt16(layout.typeAt));
    if (payloadSize >= 0) {
      const tag = layout.payloadIsText ? tags.text : tags.binary;
      at = putPart(at, tag, layout.payloadAt, payloadSize);
    }
    at = putInt8(at, tags.timestampMs, layout.timestampAt);
    at = putInt8(at, tags.recordedMs, layout.recordedAt);
    if (producerSize > 0) at = putPart(at, tags.producerId, layout.producerAt, producerSize);
    if (layout.isTraced) {
      const { traceparent = "" } = event;
      bytes[at++] = tags.traceparent;
      at = putVarint(at, traceparent.length);
      at += bytes.write(traceparent, at, "latin1");
    }
    const moved = makeRoom(sizeAt, at);
    putVarint(sizeAt, at - sizeAt - usualSizeBytes);
    last.move(moved);
    at += moved;
  }
  return bytes.subarray(0, at);
}

function grow(least: number): void {
  const larger = Buffer.allocUnsafeSlow(bytes === undefined ? least : Math.max(least, 2 * bytes.length));
  bytes?.copy(larger);
  bytes = larger;
  view = new DataView(larger.buffer, larger.byteOffset, larger.byteLength);
}

/** Moves what was written after the place for its size if that needs more bytes or fewer; how far. */
function makeRoom(sizeAt: number, end: number): number {
  const from = sizeAt + usualSizeBytes;
  const moved = varintSize(end - from) - usualSizeBytes;
  if (moved !== 0) bytes.copyWithin(from + moved, from, end);
  return moved;
}

/** Up to 2^32 - 1. */
function putVarint(at: number, value: number): number {
  let next = at;
  let rest = value;
  for (; rest >= 128; rest >>>= 7) bytes[next++] = (rest & 127) | 128;
  bytes[next++] = rest;
  return next;
}

/** A number up to 2^53-1 of eight bytes there; 0 is not written (proto3). */
function putInt8(at: number, tag: number, from: number): number {
  const high = layout.view.getUint32(from);
  const low = layout.view.getUint32(from + 4);
  if (high === 0 && low === 0) return at;
  bytes[at] = tag;
  if (high === 0) return putVarint(at + 1, low);
  // The lower 28 bits in four bytes; what is left has less than 32.
  bytes[at + 1] = (low & 127) | 128;
  bytes[at + 2] = ((low >>> 7) & 127) | 128;
  bytes[at + 3] = ((low >>> 14) & 127) | 128;
  bytes[at + 4] = ((low >>> 21) & 127) | 128;
  return putVarint(at + 5, (high << 4) | (low >>> 28));
}

function putPart(at: number, tag: number, from: number, size: number): number {
  bytes[at] = tag;
  return copy(putVarint(at + 1, size), layout.bytes, layout.view, from, size);
}

function copy(at: number, fromBytes: Buffer, fromView: DataView, from: number, size: number): number {
  if (size > shortPart) bytes.set(fromBytes.subarray(from, from + size), at);
  else {
    let i = 0;
    for (; i + 4 <= size; i += 4) view.setInt32(at + i, fromView.getInt32(from + i));
    for (; i < size; i++) bytes[at + i] = fromBytes[from + i] as number;
  }
  return at + size;
}

function putUuid(at: number, from: number): number {
  let next = at;
  bytes[next++] = tags.workflowId;
  bytes[next++] = uuidChars;
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) bytes[next++] = hyphen;
    const byte = layout.bytes[from + i] as number;
    bytes[next++] = hexDigits[byte >> 4] as number;
    bytes[next++] = hexDigits[byte & 15] as number;
  }
  return next;
}

/** Workflow and task. Most events of a page are of the task of the one before, and get its bytes again. */
class LastIds {
  /** Where the last ones lie, and where they were written. */
  #from: Buffer | undefined;
  #workflowAt = -1;
  #taskAt = 0;
  #taskSize = 0;
  #writtenAt = 0;
  #writtenSize = 0;

  write(at: number): number {
    const writtenAt = this.#writtenAt;
    this.#writtenAt = at;
    if (this.#areSame()) return copy(at, bytes, view, writtenAt, this.#writtenSize);
    const { workflowAt, taskAt, taskSize } = layout;
    let end = workflowAt >= 0 ? putUuid(at, workflowAt) : at;
    if (taskSize > 0) end = putPart(end, tags.taskExecutionId, taskAt, taskSize);
    this.#from = layout.bytes;
    this.#workflowAt = workflowAt;
    this.#taskAt = taskAt;
    this.#taskSize = taskSize;
    this.#writtenSize = end - at;
    return end;
  }

  /** What was written last is there now. */
  move(by: number): void {
    this.#writtenAt += by;
  }

  #areSame(): boolean {
    const from = this.#from;
    const { taskSize } = layout;
    if (from === undefined || taskSize !== this.#taskSize) return false;
    const hasWorkflow = layout.workflowAt >= 0;
    if (hasWorkflow !== this.#workflowAt >= 0) return false;
    return (
      (!hasWorkflow || areEqual(from, this.#workflowAt, layout.workflowAt, 16)) &&
      areEqual(from, this.#taskAt, layout.taskAt, taskSize)
    );
  }
}

function areEqual(last: Buffer, lastAt: number, at: number, size: number): boolean {
  for (let i = 0; i < size; i++) if (last[lastAt + i] !== layout.bytes[at + i]) return false;
  return true;
}
