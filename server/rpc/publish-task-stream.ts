/**
 * PublishTaskStream: a session with task events. Each entry is judged by itself: one that is wrong is rejected by its number
 * and ends nothing. What is wrong with the call itself (no init, a second one) is its status.
 */
import type { HandlerContext } from "@connectrpc/connect";
import {
  type PublishTaskStreamInit,
  PublishTaskStreamInitSchema,
  type PublishTaskStreamRequest,
  type TaskEvent,
  type TaskEventBatch,
  TaskEventBatchSchema,
  TaskEventSchema,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { toCallOwner } from "../auth/principal.ts";
import type { Clock } from "../core/clock.ts";
import { DomainError } from "../core/errors.ts";
import { payloadSize } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import type { Registry } from "../core/registry.ts";
import { RejectionCode } from "../core/session/rejection.ts";
import type { SessionEntry, SessionInput } from "../core/session/session.ts";
import type { Sessions } from "../core/session/sessions.ts";
import { accessOf, principalOf } from "./context.ts";
import { type LogBug, toConnectError } from "./error-mapping.ts";
import { fromClose, fromFlow, toReply, toSessionInit } from "./session-messages.ts";
import { invalidReason } from "./validation.ts";

export interface PublishTaskStreamDeps {
  readonly sessions: Sessions;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly logBug: LogBug;
}

export async function* publishTaskStream(
  deps: PublishTaskStreamDeps,
  requests: AsyncIterable<PublishTaskStreamRequest>,
  context: HandlerContext,
) {
  try {
    const messages = requests[Symbol.asyncIterator]();
    const first = await messages.next();
    if (first.done === true) return;
    const init = toInit(first.value);
    const access = accessOf(context);
    const { identity } = await deps.registry.require(access, init.workflowId);
    const target = { streamId: identity.streamId, workflow: identity };
    const replies = deps.sessions.run(
      access,
      toCallOwner(principalOf(context)),
      toSessionInit(init.session, target),
      toInputs(deps.clock, messages, identity.workflowId),
      context.signal,
    );
    for await (const reply of replies) yield { reply: toReply(reply) };
  } catch (error) {
    // A connection that breaks is no bug of this server.
    throw toConnectError(context.signal.aborted ? context.signal.reason : error, deps.logBug);
  }
}

function toInit({ operation }: PublishTaskStreamRequest): PublishTaskStreamInit {
  if (operation.case !== "init") {
    throw new DomainError(
      "failed_precondition",
      `operation: the first message of a session is init, found ${operation.case ?? "none"}`,
    );
  }
  const reason = invalidReason(PublishTaskStreamInitSchema, operation.value);
  if (reason !== undefined) throw new DomainError("invalid_argument", reason);
  return operation.value;
}

async function* toInputs(
  clock: Clock,
  messages: AsyncIterator<PublishTaskStreamRequest>,
  workflowId: string,
): AsyncGenerator<SessionInput> {
  for (;;) {
    const next = await messages.next();
    if (next.done === true) return;
    const { operation } = next.value;
    switch (operation.case) {
      case "init":
        throw new DomainError(
          "failed_precondition",
          "operation: a session begins with one init; open another call for another session",
        );
      case "batch":
        yield toBatch(operation.value, workflowId, clock.now());
        break;
      case "flow":
        yield fromFlow(operation.value);
        break;
      case "close":
        yield fromClose(operation.value);
        break;
      case "heartbeat":
        yield { kind: "heartbeat" };
        break;
      default:
        yield { kind: "bad", message: "operation: none is set; send init, batch, flow, close or heartbeat" };
    }
  }
}

function toBatch(batch: TaskEventBatch, workflowId: string, now: number): SessionInput {
  // One pass over all; only a batch in which something is wrong is looked at entry by entry.
  const allValid = invalidReason(TaskEventBatchSchema, batch) === undefined;
  return {
    kind: "batch",
    first: Number(batch.firstSequence),
    entries: batch.events.map((event) => toEntry(event, workflowId, now, allValid)),
  };
}

function toEntry(event: TaskEvent, workflowId: string, now: number, isValid: boolean): SessionEntry {
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
  return {
    kind: "event",
    event: {
      workflowId: event.workflowId === "" ? workflowId : event.workflowId.toLowerCase(),
      taskExecutionId: event.taskExecutionId,
      type: event.type,
      payload: event.payload.value,
      timestampMs: Number(event.timestampMs) || now,
    },
  };
}
