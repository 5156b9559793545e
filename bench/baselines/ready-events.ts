/** Stored events and batches as a server would send them, made before the measuring. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Event, EventSchema, EventType } from "../../gen/tributary/v1/event_pb.ts";
import {
  type StreamWorkflowConsolidatedResponse,
  StreamWorkflowConsolidatedResponseSchema,
} from "../../gen/tributary/v1/event_stream_service_pb.ts";
import type { TaskEvent } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { stampedText } from "../wire/stamp.ts";

/** A stream of so many stored events, in batches as a replay has them. */
export interface History {
  readonly workflowId: string;
  readonly events: number;
  readonly batch: number;
  readonly payloadBytes: number;
}

export const toResponse = (
  message: MessageInitShape<typeof StreamWorkflowConsolidatedResponseSchema>["message"],
): StreamWorkflowConsolidatedResponse =>
  create(StreamWorkflowConsolidatedResponseSchema, message === undefined ? {} : { message });

export const opened = (streamId: string): StreamWorkflowConsolidatedResponse =>
  toResponse({ message: { case: "opened", value: { streamId, epoch: 1n } } });

export const batchOf = (events: Event[]): StreamWorkflowConsolidatedResponse =>
  toResponse({ message: { case: "events", value: { events } } });

export function toStored(event: TaskEvent, offset: number): Event {
  const now = BigInt(Date.now());
  return create(EventSchema, {
    workflowId: event.workflowId,
    taskExecutionId: event.taskExecutionId,
    offset: BigInt(offset),
    sequence: event.sequence,
    type: event.type,
    payload: event.payload,
    timestampMs: now,
    recordedMs: now,
  });
}

export function readyBatches(history: History): StreamWorkflowConsolidatedResponse[] {
  const batches: StreamWorkflowConsolidatedResponse[] = [];
  const now = BigInt(Date.now());
  for (let first = 1; first <= history.events; first += history.batch) {
    const count = Math.min(history.batch, history.events - first + 1);
    const events = Array.from({ length: count }, (_, i) =>
      create(EventSchema, {
        workflowId: history.workflowId,
        taskExecutionId: "task-1",
        offset: BigInt(first + i),
        type: EventType.TOKEN,
        payload: { case: "text", value: stampedText(first + i, history.payloadBytes) },
        timestampMs: now,
        recordedMs: now,
      }),
    );
    batches.push(batchOf(events));
  }
  return batches;
}
