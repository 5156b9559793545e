/** Between core and proto. Numbers become bigint at this border only. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  ClosingReason,
  type Event,
  EventSchema,
  type EventType,
  GapReason,
  type StreamMessage,
  StreamMessageSchema,
  type StreamOptions,
  type WorkflowStatus,
} from "../../gen/tributary/v1/event_pb.ts";
import type { WorkflowSchema } from "../../gen/tributary/v1/workflow_service_pb.ts";
import type { SentEvent } from "../core/batch.ts";
import type { FollowMessage } from "../core/follow.ts";
import type { Closing, ClosingReason as CoreClosingReason } from "../core/open-call.ts";
import type { Workflow } from "../core/registry.ts";
import type { SubscribeOptions } from "../core/subscribe.ts";

/** A message is made once for all readers that get the entry from the same window. */
const eventMessages = new WeakMap<SentEvent, Event>();

export function toEvent(event: SentEvent): Event {
  let message = eventMessages.get(event);
  if (message === undefined) {
    const { payload } = event;
    message = create(EventSchema, {
      workflowId: event.workflowId,
      taskExecutionId: event.taskExecutionId,
      offset: BigInt(event.offset),
      sequence: BigInt(event.sequence),
      type: event.type as EventType,
      payload:
        payload === undefined
          ? { case: undefined }
          : typeof payload === "string"
            ? { case: "text", value: payload }
            : { case: "binary", value: payload },
      timestampMs: BigInt(event.timestampMs),
      recordedMs: BigInt(event.recordedMs),
      producerId: event.producerId,
      replaced: event.replaced ?? 0,
      traceparent: event.traceparent ?? "",
    });
    eventMessages.set(event, message);
  }
  return message;
}

const closingReasons: Record<CoreClosingReason, ClosingReason> = {
  draining: ClosingReason.DRAINING,
  credential_expired: ClosingReason.CREDENTIAL_EXPIRED,
  idle_timeout: ClosingReason.IDLE_TIMEOUT,
  revoked: ClosingReason.REVOKED,
};

export const toClosing = ({ reason, reconnectAfterMs }: Closing) => ({
  reason: closingReasons[reason],
  reconnectAfterMs,
});

export function toStreamMessage(message: FollowMessage): StreamMessage {
  return create(StreamMessageSchema, { message: toStreamOneof(message) });
}

type StreamOneof = NonNullable<MessageInitShape<typeof StreamMessageSchema>["message"]>;
/** What recalls have in common with other readers. */
type Shared = Exclude<FollowMessage, { kind: "events" | "ended" | "opened" }>;
type SharedOneof = Extract<StreamOneof, { case?: "opened" | "heartbeat" | "gap" | "closing" }>;

export function toStreamOneof(
  message: Shared | Omit<Extract<FollowMessage, { kind: "opened" }>, "finalOffset">,
): SharedOneof;
export function toStreamOneof(message: FollowMessage): StreamOneof;
export function toStreamOneof(
  message: FollowMessage | Omit<Extract<FollowMessage, { kind: "opened" }>, "finalOffset">,
): StreamOneof {
  switch (message.kind) {
    case "events":
      return { case: "events", value: { events: message.events.map(toEvent) } };
    case "heartbeat":
      return { case: "heartbeat", value: { offset: BigInt(message.offset) } };
    case "opened":
      return {
        case: "opened",
        value: {
          streamId: message.streamId,
          epoch: BigInt(message.epoch),
          startOffset: BigInt(message.startOffset),
          tailOffset: BigInt(message.tailOffset),
          floorOffset: BigInt(message.floorOffset),
        },
      };
    case "gap":
      return {
        case: "gap",
        value: {
          fromOffset: BigInt(message.from),
          toOffset: BigInt(message.to),
          reason: GapReason.TRIMMED,
        },
      };
    case "closing":
      return { case: "closing", value: toClosing(message) };
    case "ended":
      return {
        case: "ended",
        value: {
          status: message.status as WorkflowStatus,
          finalOffset: BigInt(message.finalOffset),
          taskOutcome: (message.taskOutcome ?? 0) as EventType,
        },
      };
  }
}

export function toWorkflowMessage(workflow: Workflow): MessageInitShape<typeof WorkflowSchema> {
  return {
    workflowId: workflow.workflowId,
    parentWorkflowId: workflow.parentWorkflowId ?? "",
    rootWorkflowId: workflow.path[0] ?? workflow.workflowId,
    name: workflow.name,
    status: workflow.status as WorkflowStatus,
    metadata: { ...workflow.metadata },
    depth: workflow.depth,
    createdMs: BigInt(workflow.createdMs),
    closedMs: BigInt(workflow.closedMs ?? 0),
    cancelRequestedMs: BigInt(workflow.cancelRequestedMs ?? 0),
    openInSubtree: workflow.openInSubtree,
  };
}

export function toSubscribeOptions(options: StreamOptions | undefined): SubscribeOptions {
  const start = options?.start;
  return {
    start:
      start?.case === "latest" && start.value
        ? "latest"
        : start?.case === "afterOffset"
          ? Number(start.value)
          : 0,
    types: options?.types ?? [],
    tasks: options?.taskExecutionIds ?? [],
    minIntervalMs: options?.minIntervalMs ?? 0,
    conflateTypes: options?.conflateTypes ?? [],
    heartbeatIntervalMs: options?.heartbeatIntervalMs ?? 0,
    idleTimeoutMs: options?.idleTimeoutMs ?? 0,
    expectedEpoch: Number(options?.expectedEpoch ?? 0n),
  };
}
