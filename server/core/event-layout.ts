/**
 * Where the parts of an event lie in bytes that a store has read. Nearly all of a replay goes out as it was stored, in other
 * bytes: so an event of a page need not become strings and numbers between. One layout is filled again for each event.
 */
import type { StoredEvent } from "./event.ts";

export class EventLayout {
  bytes: Buffer = Buffer.alloc(0);
  /** Of the same bytes. */
  view: DataView = new DataView(new ArrayBuffer(0));
  /** Two bytes, as those below big-endian. */
  typeAt = 0;
  /** Eight bytes each. */
  offsetAt = 0;
  sequenceAt = 0;
  timestampAt = 0;
  recordedAt = 0;
  /** The 16 bytes of a UUID; -1: it has none. */
  workflowAt = -1;
  /** Text is UTF-8. */
  taskAt = 0;
  taskSize = 0;
  producerAt = 0;
  producerSize = 0;
  /** Has it a `traceparent`? Few have, so that is read from the event. */
  isTraced = false;
  payloadIsText = false;
  payloadAt = 0;
  /** -1: none was given. */
  payloadSize = -1;
}

/** The same as an object of its own. */
export const copyOf = (event: StoredEvent): StoredEvent =>
  event.layOut === undefined
    ? { ...event }
    : {
        workflowId: event.workflowId,
        taskExecutionId: event.taskExecutionId,
        producerId: event.producerId,
        sequence: event.sequence,
        offset: event.offset,
        type: event.type,
        payload: event.payload,
        timestampMs: event.timestampMs,
        recordedMs: event.recordedMs,
        traceparent: event.traceparent,
      };
