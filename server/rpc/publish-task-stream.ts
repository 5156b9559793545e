/** PublishTaskStream: a session with task events. */
import type { HandlerContext } from "@connectrpc/connect";
import {
  PublishTaskStreamInitSchema,
  type PublishTaskStreamRequest,
  type TaskEvent,
  type TaskEventBatch,
  TaskEventBatchSchema,
  TaskEventSchema,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { payloadSize } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import type { Registry } from "../core/registry.ts";
import type { SessionEntry, SessionInput } from "../core/session/messages.ts";
import { RejectionCode } from "../core/session/rejection.ts";
import { keptTrace, wrongTraceparent } from "../core/traceparent.ts";
import { traceOf } from "./context.ts";
import { type SessionCallDeps, type SessionKind, sessionCall } from "./session-call.ts";
import { invalidReason } from "./validation.ts";

export interface PublishTaskStreamDeps extends SessionCallDeps {
  readonly registry: Registry;
  /** ms by the database's clock: the time of an event that comes without one. */
  readonly databaseNow: () => number;
}

export function publishTaskStream(
  deps: PublishTaskStreamDeps,
  requests: AsyncIterable<PublishTaskStreamRequest>,
  context: HandlerContext,
) {
  const trace = traceOf(context);
  const kind: SessionKind<typeof PublishTaskStreamInitSchema, TaskEventBatch> = {
    initSchema: PublishTaskStreamInitSchema,
    async open(access, init) {
      const { identity } = await deps.registry.require(access, init.workflowId);
      return {
        target: { streamId: identity.streamId, workflow: identity, space: undefined },
        toBatch: (batch) => toBatch(batch, identity.workflowId, deps.databaseNow(), trace),
      };
    },
  };
  return sessionCall(deps, kind, requests, context);
}

function toBatch(
  batch: TaskEventBatch,
  workflowId: string,
  now: number,
  trace: string | undefined,
): SessionInput {
  // One pass over all; only a batch in which something is wrong is looked at entry by entry.
  const allValid = invalidReason(TaskEventBatchSchema, batch) === undefined;
  return {
    kind: "batch",
    first: Number(batch.firstSequence),
    entries: batch.events.map((event) => toEntry(event, workflowId, now, trace, allValid)),
  };
}

function toEntry(
  event: TaskEvent,
  workflowId: string,
  now: number,
  trace: string | undefined,
  isValid: boolean,
): SessionEntry {
  if (!isValid) {
    const size = payloadSize(event.payload.value);
    if (size > limits.payloadBytes) {
      return {
        kind: "invalid",
        code: RejectionCode.TOO_LARGE,
        message: `payload: ${size} bytes, at most ${limits.payloadBytes}; store it elsewhere and send a reference`,
      };
    }
    const reason = invalidReason(TaskEventSchema, event);
    if (reason !== undefined) return { kind: "invalid", code: RejectionCode.INVALID, message: reason };
  }
  const wrong = wrongTraceparent("traceparent", event.traceparent);
  if (wrong !== undefined) return { kind: "invalid", code: RejectionCode.INVALID, message: wrong };
  return {
    kind: "event",
    event: {
      workflowId: event.workflowId === "" ? workflowId : event.workflowId.toLowerCase(),
      taskExecutionId: event.taskExecutionId,
      type: event.type,
      payload: event.payload.value,
      timestampMs: Number(event.timestampMs) || now,
      traceparent: keptTrace(event.traceparent, trace),
    },
  };
}
