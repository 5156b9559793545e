/** The messages of session.proto to and from core; the same for task events and observations. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import {
  Priority,
  type RejectionCode,
  type SessionClose,
  type SessionFlow,
  type SessionInit as SessionInitMessage,
  type SessionReplySchema,
} from "../../gen/tributary/v1/session_pb.ts";
import type { Lane } from "../core/command.ts";
import type { SessionInput } from "../core/session/messages.ts";
import type { SessionInit, SessionReply, SessionTarget } from "../core/session/sessions.ts";

const lanes: Readonly<Partial<Record<Priority, Lane>>> = {
  [Priority.HIGH]: "high",
  [Priority.NORMAL]: "normal",
  [Priority.LOW]: "low",
};

export function toSessionInit(message: SessionInitMessage | undefined, target: SessionTarget): SessionInit {
  return {
    sessionId: message?.sessionId ?? "",
    acceptedAcks: message?.ackLevel === AckLevel.ACCEPTED,
    clientBufferSize: message?.clientBufferSize ?? 0,
    maxBatchSize: message?.maxBatchSize ?? 0,
    lane: lanes[message?.priority ?? Priority.NORMAL] ?? "normal",
    target,
  };
}

export function fromFlow({ action, preferredRate }: SessionFlow): SessionInput {
  if (action < 1 || action > 5) {
    return { kind: "bad", message: `flow.action: must be one of 1 to 5, found ${action}` };
  }
  if (!Number.isFinite(preferredRate) || preferredRate < 0) {
    return {
      kind: "bad",
      message: `flow.preferred_rate: must be a number of messages a second, 0 for no limit, found ${preferredRate}`,
    };
  }
  return { kind: "flow", action, preferredRate };
}

export function fromClose({ drain, lastSequence }: SessionClose): SessionInput {
  if (lastSequence > BigInt(Number.MAX_SAFE_INTEGER)) {
    return { kind: "bad", message: `close.last_sequence: at most 9007199254740991, found ${lastSequence}` };
  }
  return { kind: "close", drain, lastSequence: Number(lastSequence) };
}

export function toReply(reply: SessionReply): MessageInitShape<typeof SessionReplySchema> {
  switch (reply.kind) {
    case "init_ack":
      return {
        message: {
          case: "initAck",
          value: {
            sessionId: reply.sessionId,
            lastSequence: BigInt(reply.lastSequence),
            credit: reply.credit,
            creditBytes: BigInt(reply.creditBytes),
            capabilities: {
              maxBatchSize: reply.maxBatchSize,
              queueCapacity: reply.queueCapacity,
              maxEventsPerSecond: reply.maxEventsPerSecond,
              supportsBackpressure: true,
              supportsSnapshotIsolation: true,
            },
            rejected: reply.rejected.map((rejection) => ({
              sequence: BigInt(rejection.sequence),
              expectedSequence: BigInt(reply.lastSequence + 1),
              code: rejection.code as RejectionCode,
              message: rejection.message,
              final: true,
            })),
          },
        },
      };
    case "ack":
      return {
        message: {
          case: "ack",
          value: {
            upToSequence: BigInt(reply.upTo),
            level: reply.level === "durable" ? AckLevel.DURABLE : AckLevel.ACCEPTED,
            lastOffset: BigInt(reply.lastOffset),
            credit: reply.credit,
            creditBytes: BigInt(reply.creditBytes),
          },
        },
      };
    case "rejected":
      return {
        message: {
          case: "rejected",
          value: {
            sequence: BigInt(reply.sequence),
            expectedSequence: BigInt(reply.expectedSequence),
            code: reply.code as RejectionCode,
            message: reply.message,
            retryAfterMs: reply.retryAfterMs,
            final: reply.final,
          },
        },
      };
    case "status":
      return {
        message: {
          case: "status",
          value: {
            state: reply.state,
            queueDepth: reply.queueDepth,
            queueCapacity: reply.queueCapacity,
            pressure: reply.pressure,
            retryAfterMs: reply.retryAfterMs,
            message: reply.message,
          },
        },
      };
    case "cancel_requested":
      return {
        message: {
          case: "cancelRequested",
          value: { workflowId: reply.workflowId, reason: reply.reason },
        },
      };
    case "heartbeat":
      return { message: { case: "heartbeat", value: {} } };
    case "closed":
      return {
        message: {
          case: "closed",
          value: {
            reason: reply.reason,
            finalSequence: BigInt(reply.finalSequence),
            lastOffset: BigInt(reply.lastOffset),
            discarded: reply.discarded,
            reconnectAfterMs: reply.reconnectAfterMs,
          },
        },
      };
  }
}
