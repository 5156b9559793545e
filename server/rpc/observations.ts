/** Observations to and from core: batches of a session, matches of a recall. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type MemorySpaceSchema,
  type Observation,
  type ObservationBatch,
  ObservationBatchSchema,
  ObservationSchema,
} from "../../gen/tributary/v1/memory_service_pb.ts";
import { EventType, noWorkflow, payloadSize } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import type { Space, Observation as StoredObservation } from "../core/memory/memory-store.ts";
import type { SessionEntry, SessionInput } from "../core/session/messages.ts";
import { RejectionCode } from "../core/session/rejection.ts";
import { invalidReason } from "./validation.ts";

const absent = { confidence: 1, importance: 0.5 };

export function toObservationBatch(batch: ObservationBatch, now: number): SessionInput {
  // One pass over all; only a batch in which something is wrong is looked at entry by entry.
  const allValid = invalidReason(ObservationBatchSchema, batch) === undefined;
  return {
    kind: "batch",
    first: Number(batch.firstSequence),
    entries: batch.observations.map((observation) => toEntry(observation, now, allValid)),
  };
}

function toEntry(observation: Observation, now: number, isValid: boolean): SessionEntry {
  const { content, metadata, observationId, confidence, importance } = observation;
  const wrong = isValid ? tooLong(observation) : whyInvalid(observation);
  if (wrong !== undefined) return { kind: "invalid", ...wrong };
  const observedMs = Number(observation.observedMs) || now;
  return {
    kind: "event",
    event: {
      workflowId: noWorkflow,
      taskExecutionId: "",
      type: EventType.OBSERVATION,
      payload: content,
      timestampMs: observedMs,
      observation: {
        observationId,
        metadata: JSON.stringify(metadata),
        confidence: confidence ?? absent.confidence,
        importance: importance ?? absent.importance,
        observedMs,
      },
    },
  };
}

interface Wrong {
  readonly code: number;
  readonly message: string;
}

function whyInvalid(observation: Observation): Wrong | undefined {
  const size = payloadSize(observation.content);
  if (size > limits.payloadBytes) {
    return {
      code: RejectionCode.TOO_LARGE,
      message: `content: ${size} bytes, at most ${limits.payloadBytes}; store it elsewhere and observe a reference`,
    };
  }
  const reason = invalidReason(ObservationSchema, observation);
  return reason === undefined ? tooLong(observation) : { code: RejectionCode.INVALID, message: reason };
}

/** What the rules of the proto file do not say. */
function tooLong({ observationId, metadata }: Observation): Wrong | undefined {
  const idBytes = payloadSize(observationId);
  if (idBytes > limits.observationIdBytes) {
    return {
      code: RejectionCode.INVALID,
      message: `observation_id: must not exceed ${limits.observationIdBytes} bytes, found ${idBytes}`,
    };
  }
  let bytes = 0;
  for (const key in metadata) bytes += payloadSize(key) + payloadSize(metadata[key]);
  if (bytes <= limits.metadataBytes) return undefined;
  return {
    code: RejectionCode.INVALID,
    message: `metadata: keys and values together must not exceed ${limits.metadataBytes} bytes, found ${bytes}`,
  };
}

export const toObservation = (found: StoredObservation): MessageInitShape<typeof ObservationSchema> => ({
  observationId: found.observationId,
  content: found.content,
  metadata: { ...found.metadata },
  confidence: found.confidence,
  observedMs: BigInt(found.observedMs),
  importance: found.importance,
  offset: BigInt(found.offset),
  sessionId: found.sessionId,
  recordedMs: BigInt(found.recordedMs),
});

export const toSpaceMessage = (found: Space): MessageInitShape<typeof MemorySpaceSchema> => ({
  space: found.space,
  displayName: found.displayName,
  createdMs: BigInt(found.createdMs),
  tailOffset: BigInt(found.tailOffset),
  retention: {
    maxAgeMs: BigInt(found.retention.maxAgeMs),
    maxObservations: BigInt(found.retention.maxObservations),
  },
});
