/** Server-Sent Events as contract §3 fixes them. Pure: from messages to text. */
import type { SentEvent } from "../core/batch.ts";
import { EventType, WorkflowStatus } from "../core/event.ts";
import type { FollowMessage } from "../core/follow.ts";

const typeNames = new Map<number, string>(Object.entries(EventType).map(([name, type]) => [type, name]));
const statusNames = new Map<number, string>(
  Object.entries(WorkflowStatus).map(([name, status]) => [status, name]),
);

/** EventSource has an `error` event of its own. */
const eventName = (type: number) =>
  type === EventType.ERROR ? "task_error" : (typeNames.get(type) ?? String(type)).toLowerCase();

export function toSse(message: FollowMessage): string {
  switch (message.kind) {
    case "opened":
      return record("open", undefined, {
        streamId: message.streamId,
        epoch: message.epoch,
        startOffset: message.startOffset,
        tailOffset: message.tailOffset,
        floorOffset: message.floorOffset,
      });
    case "events":
      return message.events.map(toEventRecord).join("");
    case "heartbeat":
      // A comment alone would not move the position, an id alone does.
      return `id: ${message.offset}\n: keep-alive\n\n`;
    case "gap":
      return record("gap", message.to, { fromOffset: message.from, toOffset: message.to, reason: "TRIMMED" });
    case "closing":
      return `retry: ${message.reconnectAfterMs}\n${record("closing", undefined, {
        reason: message.reason.toUpperCase(),
        reconnectAfterMs: message.reconnectAfterMs,
      })}`;
    case "ended":
      return record("end", message.finalOffset, {
        status: statusNames.get(message.status) ?? "UNSPECIFIED",
        finalOffset: message.finalOffset,
        taskOutcome: typeNames.get(message.taskOutcome ?? 0) ?? "UNSPECIFIED",
      });
  }
}

/** One text for all readers that get the entry from the same window. */
const records = new WeakMap<SentEvent, string>();

function toEventRecord(event: SentEvent): string {
  let text = records.get(event);
  if (text === undefined) {
    text = record(eventName(event.type), event.offset, {
      type: typeNames.get(event.type) ?? String(event.type),
      workflowExecutionId: event.workflowId,
      taskExecutionId: event.taskExecutionId,
      sequence: event.sequence,
      offset: event.offset,
      ...(event.payload instanceof Uint8Array
        ? { payloadBase64: Buffer.from(event.payload).toString("base64") }
        : { payload: event.payload ?? "" }),
      timestampMs: event.timestampMs,
      recordedMs: event.recordedMs,
      replaced: event.replaced, // left out if there is none
      traceparent: event.traceparent, // likewise
    });
    records.set(event, text);
  }
  return text;
}

/** JSON has no line breaks of its own, so `data:` is one line. */
function record(event: string, id: number | undefined, data: object): string {
  return `event: ${event}\n${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`;
}
