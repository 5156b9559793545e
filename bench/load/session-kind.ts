/** The two services that are sessions: how each begins, and what its batches look like. The answers are the same. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AckLevel, EventType } from "../../gen/tributary/v1/event_pb.ts";
import { ObserveStreamRequestSchema } from "../../gen/tributary/v1/memory_service_pb.ts";
import type { SessionReply } from "../../gen/tributary/v1/session_pb.ts";
import {
  PublishTaskStreamRequestSchema,
  PublishTaskStreamResponseSchema,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { paths } from "../wire/paths.ts";
import { largestSequence } from "../wire/sequence.ts";
import { stampedText, stampedWords } from "../wire/stamp.ts";

export type SessionKindName = "task events" | "observations";

export interface SessionKind {
  readonly path: string;
  /** `target`: a workflow, or a memory space. */
  init(target: string): Uint8Array;
  batch(entries: number, payloadBytes: number): Uint8Array;
}

const session = { ackLevel: AckLevel.DURABLE };

export const sessionKinds: Readonly<Record<SessionKindName, SessionKind>> = {
  "task events": {
    path: paths.publishTaskStream,
    init: (workflowId) =>
      toBinary(
        PublishTaskStreamRequestSchema,
        create(PublishTaskStreamRequestSchema, {
          operation: { case: "init", value: { workflowId, session } },
        }),
      ),
    batch(entries, payloadBytes) {
      const event = {
        taskExecutionId: "task-1",
        type: EventType.TOKEN,
        payload: { case: "text", value: stampedText(0, payloadBytes) },
      } as const;
      const value = { firstSequence: largestSequence, events: Array.from({ length: entries }, () => event) };
      return toBinary(
        PublishTaskStreamRequestSchema,
        create(PublishTaskStreamRequestSchema, { operation: { case: "batch", value } }),
      );
    },
  },
  observations: {
    path: paths.observeStream,
    init: (space) =>
      toBinary(
        ObserveStreamRequestSchema,
        create(ObserveStreamRequestSchema, { operation: { case: "init", value: { space, session } } }),
      ),
    batch(entries, payloadBytes) {
      const observations = Array.from({ length: entries }, (_, n) => ({
        content: stampedWords(0, payloadBytes, n),
      }));
      return toBinary(
        ObserveStreamRequestSchema,
        create(ObserveStreamRequestSchema, {
          operation: { case: "batch", value: { firstSequence: largestSequence, observations } },
        }),
      );
    },
  },
};

/** Both services answer with a message whose first field is the reply. */
export const toReply = (bytes: Uint8Array): SessionReply["message"] | undefined =>
  fromBinary(PublishTaskStreamResponseSchema, bytes).reply?.message;
