/**
 * A notice as bytes for another instance. What is read is what was written: texts stay texts and bytes stay bytes, numbers
 * are exact. Whoever cannot read a version still reads offsets 1–16 and takes it for a notice without entries; whatever
 * else cannot be read is no notice (undefined), never an exception.
 *
 *   0 version · 1 from · 9 to · 17 count · then the entries, each with two bytes that say what differs from what the
 *   entry before predicts: a stream of tokens costs 15 bytes an entry beside its payload.
 *
 * Version 2 is the same with trace contexts. Who knows only version 1 would read them as something else, so a message says 2 if it
 * has one, and only then.
 *
 * Own bytes, since this is done for each commit on the way of every event: 100 tokens of 100 bytes take 40 µs to
 * write and 39 µs to read, as JSON with base64 122 and 82 (Node 24, 2 busy cores), in 40 % of the space.
 */

import type { ObservationPart, Payload, StoredEvent } from "../core/event.ts";
import type { Notice } from "../core/ports.ts";
import { traceBytes, traceFromHex, traceToBytes } from "../core/traceparent.ts";

const version = 1;
const versionWithTraces = 2;
const headBytes = 21;
/** What an entry takes at most beside its texts. */
const entryBytes = 2 + 4 * 8 + 3 * 4 + 1 + 4 + 2 * 4 + 3 * 8 + traceBytes;

const Differs = {
  workflow: 1,
  task: 2,
  producer: 4,
  /** Not the one before plus 1. */
  sequence: 8,
  offset: 16,
  type: 32,
  timestamp: 64,
  recorded: 128,
} as const;

const Has = { text: 1, bytes: 2, observation: 4, trace: 8, traceOfBefore: 16 } as const;

/** What the first entry is compared with. */
const nothing = {
  workflowId: "",
  taskExecutionId: "",
  producerId: "",
  type: 0,
  timestampMs: 0,
  recordedMs: 0,
};

/**
 * One message, or several where one would exceed `mostBytes`; what comes after an entry that is too large for any is told
 * without entries.
 */
export function toBytes(notice: Notice, mostBytes: number): Uint8Array[] {
  const { entries } = notice;
  if (entries === undefined || entries.length === 0) return [bare(notice.from, notice.to)];
  const messages: Uint8Array[] = [];
  let from = notice.from;
  let at = 0;
  while (at < entries.length) {
    const { message, next } = pack(entries, at, from, notice.to, mostBytes);
    if (message === undefined) return [...messages, bare(from, notice.to)];
    messages.push(message);
    from = (entries[next - 1] as StoredEvent).offset + 1;
    at = next;
  }
  return messages;
}

export function fromBytes(streamId: string, bytes: Uint8Array): Notice | undefined {
  try {
    return read(streamId, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (error) {
    if (error instanceof RangeError) return undefined; // it ends too early, or a number is none
    throw error;
  }
}

function bare(from: number, to: number): Uint8Array {
  const message = Buffer.allocUnsafe(headBytes);
  writeHead(message, version, from, to, 0);
  return message;
}

function writeHead(into: Buffer, itsVersion: number, from: number, to: number, count: number): void {
  into[0] = itsVersion;
  into.writeDoubleLE(from, 1);
  into.writeDoubleLE(to, 9);
  into.writeUInt32LE(count, 17);
}

/** Written here first, since the length is only known afterwards; grows to the largest message. */
let scratch = Buffer.allocUnsafeSlow(64 * 1024);

/** As many entries as fit, from `at` on. undefined: not even one. */
function pack(
  entries: readonly StoredEvent[],
  at: number,
  from: number,
  to: number,
  mostBytes: number,
): { readonly message: Uint8Array | undefined; readonly next: number } {
  let end = headBytes;
  let next = at;
  let itsVersion = version;
  for (; next < entries.length; next++) {
    const entry = entries[next] as StoredEvent;
    const before = next === at ? undefined : entries[next - 1];
    reserve(end + entryBytes + 3 * lengthOf(entry));
    const after = writeEntry(entry, before, from, end);
    if (after > mostBytes) break;
    end = after;
    if (entry.traceparent !== undefined) itsVersion = versionWithTraces;
  }
  if (next === at) return { message: undefined, next };
  const last = next === entries.length ? to : (entries[next - 1] as StoredEvent).offset;
  writeHead(scratch, itsVersion, from, last, next - at);
  return { message: new Uint8Array(scratch.subarray(0, end)), next };
}

function reserve(bytes: number): void {
  if (bytes <= scratch.length) return;
  const larger = Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(bytes)));
  scratch.copy(larger);
  scratch = larger;
}

/** Characters, or bytes, of an entry's texts. */
function lengthOf({ workflowId, taskExecutionId, producerId, payload, observation }: StoredEvent): number {
  const length =
    workflowId.length +
    taskExecutionId.length +
    producerId.length +
    (payload === undefined ? 0 : payload.length);
  if (observation === undefined) return length;
  return length + observation.observationId.length + observation.metadata.length;
}

function writeEntry(
  entry: StoredEvent,
  before: StoredEvent | undefined,
  from: number,
  start: number,
): number {
  const into = scratch;
  const known = before ?? nothing;
  const { payload, observation } = entry;
  let differs = 0;
  let at = start + 2;
  if (entry.workflowId !== known.workflowId) {
    differs |= Differs.workflow;
    at = writeText(into, entry.workflowId, at);
  }
  if (entry.taskExecutionId !== known.taskExecutionId) {
    differs |= Differs.task;
    at = writeText(into, entry.taskExecutionId, at);
  }
  if (entry.producerId !== known.producerId) {
    differs |= Differs.producer;
    at = writeText(into, entry.producerId, at);
  }
  if (entry.sequence !== (before === undefined ? 0 : before.sequence + 1)) {
    differs |= Differs.sequence;
    at = into.writeDoubleLE(entry.sequence, at);
  }
  if (entry.offset !== (before === undefined ? from : before.offset + 1)) {
    differs |= Differs.offset;
    at = into.writeDoubleLE(entry.offset, at);
  }
  if (entry.type !== known.type) {
    differs |= Differs.type;
    at = into.writeUInt8(entry.type, at);
  }
  if (entry.timestampMs !== known.timestampMs) {
    differs |= Differs.timestamp;
    at = into.writeDoubleLE(entry.timestampMs, at);
  }
  if (entry.recordedMs !== known.recordedMs) {
    differs |= Differs.recorded;
    at = into.writeDoubleLE(entry.recordedMs, at);
  }
  let has = 0;
  if (typeof payload === "string") {
    has |= Has.text;
    at = writeText(into, payload, at);
  } else if (payload !== undefined) {
    has |= Has.bytes;
    at = into.writeUInt32LE(payload.length, at);
    into.set(payload, at);
    at += payload.length;
  }
  if (observation !== undefined) {
    has |= Has.observation;
    at = writeText(into, observation.observationId, at);
    at = writeText(into, observation.metadata, at);
    at = into.writeDoubleLE(observation.confidence, at);
    at = into.writeDoubleLE(observation.importance, at);
    at = into.writeDoubleLE(observation.observedMs, at);
  }
  // Last, as it is read: an entry's own comes after its observation.
  if (entry.traceparent !== undefined) {
    if (entry.traceparent === before?.traceparent) has |= Has.traceOfBefore;
    else {
      has |= Has.trace;
      at += traceToBytes(entry.traceparent).copy(into, at);
    }
  }
  into[start] = differs;
  into[start + 1] = has;
  return at;
}

function writeText(into: Buffer, text: string, at: number): number {
  const length = into.write(text, at + 4);
  into.writeUInt32LE(length, at);
  return at + 4 + length;
}

function read(streamId: string, bytes: Buffer): Notice | undefined {
  const [from, to] = [bytes.readDoubleLE(1), bytes.readDoubleLE(9)];
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 1 || to < from) return undefined;
  if (bytes[0] !== version && bytes[0] !== versionWithTraces) {
    return { streamId, from, to, entries: undefined };
  }
  const count = bytes.readUInt32LE(17);
  if (count === 0) return { streamId, from, to, entries: undefined };
  const reader = new Reader(bytes);
  const entries: StoredEvent[] = [];
  let before: StoredEvent | undefined;
  for (let i = 0; i < count; i++) {
    const entry = reader.entry(before, from);
    if (entry.offset < from || entry.offset > to || entry.offset <= (before?.offset ?? 0)) return undefined;
    entries.push(entry);
    before = entry;
  }
  return reader.isAtEnd ? { streamId, from, to, entries } : undefined;
}

class Reader {
  readonly #bytes: Buffer;
  #at = headBytes;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  entry(before: StoredEvent | undefined, from: number): StoredEvent {
    const known = before ?? nothing;
    const differs = this.#byte();
    const has = this.#byte();
    const workflowId = differs & Differs.workflow ? this.#text() : known.workflowId;
    const taskExecutionId = differs & Differs.task ? this.#text() : known.taskExecutionId;
    const producerId = differs & Differs.producer ? this.#text() : known.producerId;
    const sequence =
      differs & Differs.sequence ? this.#count() : before === undefined ? 0 : before.sequence + 1;
    const offset = differs & Differs.offset ? this.#count() : before === undefined ? from : before.offset + 1;
    const type = differs & Differs.type ? this.#byte() : known.type;
    const timestampMs = differs & Differs.timestamp ? this.#count() : known.timestampMs;
    const recordedMs = differs & Differs.recorded ? this.#count() : known.recordedMs;
    let payload: Payload;
    if (has & Has.text) payload = this.#text();
    else if (has & Has.bytes) payload = this.#copy();
    const entry = {
      workflowId,
      taskExecutionId,
      producerId,
      sequence,
      type,
      payload,
      timestampMs,
      offset,
      recordedMs,
    };
    const whole = has & Has.observation ? { ...entry, observation: this.#observation() } : entry;
    if (has & Has.trace) return { ...whole, traceparent: this.#trace() };
    return has & Has.traceOfBefore ? { ...whole, traceparent: before?.traceparent } : whole;
  }

  #observation(): ObservationPart {
    return {
      observationId: this.#text(),
      metadata: this.#text(),
      confidence: this.#number(),
      importance: this.#number(),
      observedMs: this.#count(),
    };
  }

  #trace(): string {
    const start = this.#at;
    this.#at += traceBytes;
    if (this.#at > this.#bytes.length) throw new RangeError("it ends too early");
    return traceFromHex(this.#bytes.toString("hex", start, this.#at));
  }

  #byte(): number {
    return this.#bytes.readUInt8(this.#at++);
  }

  #number(): number {
    const value = this.#bytes.readDoubleLE(this.#at);
    this.#at += 8;
    return value;
  }

  /** What a reader's message could not hold must not come to one. */
  #count(): number {
    const value = this.#number();
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no count`);
    return value;
  }

  #text(): string {
    const start = this.#skipSized();
    return this.#bytes.toString("utf8", start, this.#at);
  }

  /** A copy: a part of the message would keep the whole of it in memory. */
  #copy(): Uint8Array {
    const start = this.#skipSized();
    return new Uint8Array(this.#bytes.subarray(start, this.#at));
  }

  #skipSized(): number {
    const start = this.#at + 4;
    this.#at = start + this.#bytes.readUInt32LE(this.#at);
    if (this.#at > this.#bytes.length) throw new RangeError("it ends too early");
    return start;
  }
}
