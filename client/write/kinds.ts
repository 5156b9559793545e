/** The two kinds of sessions, which speak one protocol: task events of a tree, observations of a space. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type {
  MemoryService,
  ObservationSchema,
  ObserveStreamRequestSchema,
} from "../../gen/tributary/v1/memory_service_pb.ts";
import type { FlowAction, SessionInitSchema, SessionReply } from "../../gen/tributary/v1/session_pb.ts";
import type {
  PublishTaskStreamRequestSchema,
  TaskEventSchema,
  TaskStreamService,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import type { Call } from "../stream-call.ts";
import { utf8Length } from "../utf8.ts";

export type SessionInit = MessageInitShape<typeof SessionInitSchema>;
/** One event of a task. */
export type TaskEntry = MessageInitShape<typeof TaskEventSchema>;
export type ObservationEntry = MessageInitShape<typeof ObservationSchema>;
type TaskRequest = MessageInitShape<typeof PublishTaskStreamRequestSchema>;
type ObserveRequest = MessageInitShape<typeof ObserveStreamRequestSchema>;

/** What a session says, whatever its entries are. */
export type Said<E> =
  | { readonly case: "init"; readonly value: SessionInit }
  | { readonly case: "batch"; readonly first: number; readonly entries: readonly E[] }
  | {
      readonly case: "flow";
      readonly value: { readonly action: FlowAction; readonly preferredRate?: number };
    }
  | { readonly case: "close"; readonly value: { readonly drain: boolean; readonly lastSequence: bigint } }
  | { readonly case: "heartbeat"; readonly value: Record<never, never> };

export interface SessionKind<E> {
  /** For observers. */
  readonly what: string;
  /** Bytes of payload, as the credit counts them. */
  bytesOf(entry: E): number;
  call(
    said: AsyncIterable<Said<E>>,
    call: Call,
  ): AsyncIterable<{ readonly reply?: SessionReply | undefined }>;
}

export const taskKind = (
  tasks: Client<typeof TaskStreamService>,
  workflowId: string,
): SessionKind<TaskEntry> => ({
  what: `session of ${workflowId}`,
  bytesOf: ({ payload }) => {
    if (payload?.value === undefined) return 0;
    return typeof payload.value === "string" ? utf8Length(payload.value) : payload.value.byteLength;
  },
  call: (said, call) => tasks.publishTaskStream(taskRequests(workflowId, said), call),
});

async function* taskRequests(
  workflowId: string,
  all: AsyncIterable<Said<TaskEntry>>,
): AsyncGenerator<TaskRequest> {
  for await (const said of all) {
    switch (said.case) {
      case "init":
        yield { operation: { case: "init", value: { workflowId, session: said.value } } };
        break;
      case "batch": {
        const value = { firstSequence: BigInt(said.first), events: [...said.entries] };
        yield { operation: { case: "batch", value } };
        break;
      }
      default:
        yield { operation: said };
    }
  }
}

export const observationKind = (
  memory: Client<typeof MemoryService>,
  space: string,
): SessionKind<ObservationEntry> => ({
  what: `observations of ${space || "default"}`,
  bytesOf: ({ content }) => utf8Length(content ?? ""),
  call: (said, call) => memory.observeStream(observeRequests(space, said), call),
});

async function* observeRequests(
  space: string,
  all: AsyncIterable<Said<ObservationEntry>>,
): AsyncGenerator<ObserveRequest> {
  for await (const said of all) {
    switch (said.case) {
      case "init":
        yield { operation: { case: "init", value: { space, session: said.value } } };
        break;
      case "batch": {
        const value = { firstSequence: BigInt(said.first), observations: [...said.entries] };
        yield { operation: { case: "batch", value } };
        break;
      }
      default:
        yield { operation: said };
    }
  }
}
