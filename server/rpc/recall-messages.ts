/** The messages of a recall to and from core; the same for RecallStream and MemoryFlow. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  Cue as CueMessage,
  RecallMessageSchema,
  RecallStreamRequest,
} from "../../gen/tributary/v1/memory_service_pb.ts";
import type { Cue } from "../core/memory/memory-store.ts";
import type { RecallMessage, RecallRequest } from "../core/memory/recall.ts";
import { toStreamOneof } from "./conversions.ts";
import { toObservation } from "./observations.ts";

export function toRecallRequest(request: RecallStreamRequest): RecallRequest {
  const { options } = request;
  return {
    space: request.space,
    cue: toCue(request.cue),
    maxResults: request.maxResults,
    // A float, though JSON may have given more digits than one holds: Postgres refuses 5e-324 for its own.
    minScore: Math.fround(request.minScore),
    isolated: request.snapshotIsolation,
    snapshotOffset: Number(request.snapshotOffset),
    follow: request.follow,
    afterOffset: options?.start.case === "afterOffset" ? Number(options.start.value) : undefined,
    heartbeatIntervalMs: options?.heartbeatIntervalMs ?? 0,
    idleTimeoutMs: options?.idleTimeoutMs ?? 0,
    expectedEpoch: Number(options?.expectedEpoch ?? 0n),
  };
}

function toCue(message: CueMessage | undefined): Cue | undefined {
  const cue = message?.cue;
  switch (cue?.case) {
    case "text":
      return { kind: "text", text: cue.value };
    case "timeRange":
      return { kind: "time", fromMs: Number(cue.value.fromMs), toMs: Number(cue.value.toMs) };
    case "sessionId":
      return { kind: "session", sessionId: cue.value.toLowerCase() };
    default:
      return undefined;
  }
}

export function toRecallMessage(message: RecallMessage): MessageInitShape<typeof RecallMessageSchema> {
  switch (message.kind) {
    case "results":
      return {
        message: {
          case: "results",
          value: {
            results: message.matches.map(({ observation, score }) => ({
              observation: toObservation(observation),
              score,
            })),
            moreResults: message.more,
          },
        },
      };
    case "snapshot_complete":
      return {
        message: {
          case: "snapshotComplete",
          value: { snapshotOffset: BigInt(message.snapshotOffset), results: message.results },
        },
      };
    default:
      return { message: toStreamOneof(message) };
  }
}
