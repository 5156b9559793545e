/**
 * Events: what a stream consists of. The numbers are those of the wire and of the table.
 * Offsets, sequences and times are JavaScript numbers: the contract bounds them by 2^53-1.
 */
import type { EventLayout } from "./event-layout.ts";

export const EventType = {
  TOKEN: 1,
  PROGRESS: 2,
  DATA: 3,
  ERROR: 4,
  STARTED: 5,
  OUTPUT: 6,
  TOOL_CALL: 7,
  TOOL_RESULT: 8,
  COMPLETED: 9,
  FAILED: 10,
  CANCELLED: 11,
  WORKFLOW_CREATED: 20,
  WORKFLOW_COMPLETED: 21,
  WORKFLOW_FAILED: 22,
  WORKFLOW_CANCELLED: 23,
  CANCEL_REQUESTED: 24,
  VARIABLE_SET: 30,
  VARIABLE_DELETED: 31,
  OBSERVATION: 40,
} as const;

export const WorkflowStatus = { RUNNING: 1, COMPLETED: 2, FAILED: 3, CANCELLED: 4 } as const;

/** Text, bytes, or nothing given. */
export type Payload = string | Uint8Array | undefined;

/** What an observation has beside its event, whose payload is its content. */
export interface ObservationPart {
  /** Unique in its space. "" only on its way to the session, which then makes one. */
  readonly observationId: string;
  /** As JSON. */
  readonly metadata: string;
  readonly confidence: number;
  readonly importance: number;
  /** The observer's clock. */
  readonly observedMs: number;
}

/** The workflow of what has none: entries of memory spaces. */
export const noWorkflow = "00000000-0000-0000-0000-000000000000";

/** An event that is to be stored. */
export interface NewEvent {
  readonly workflowId: string;
  /** "" for events of the workflow itself. */
  readonly taskExecutionId: string;
  /** Whose number `sequence` is; "" when it is not checked. */
  readonly producerId: string;
  readonly sequence: number;
  readonly type: number;
  readonly payload: Payload;
  readonly timestampMs: number;
  /** Of entries of memory spaces. */
  readonly observation?: ObservationPart;
  /** Trace context of its writer, which was sampled; absent: none. See traceparent.ts. */
  readonly traceparent?: string | undefined;
}

/** An event as stored. */
export interface StoredEvent extends NewEvent {
  readonly offset: number;
  readonly recordedMs: number;
  /**
   * Of one that lies in bytes as it was read: where its parts are. Its properties are getters, which spreading does not see and
   * which read anew each time: who changes it, keeps it for long or reads it often takes a copy (`copyOf`).
   */
  layOut?(into: EventLayout): void;
}

/** A task's last event. */
export const isTaskTerminal = (type: number): boolean =>
  type >= EventType.COMPLETED && type <= EventType.CANCELLED;

/** A workflow's last event. */
export const isWorkflowTerminal = (type: number): boolean =>
  type >= EventType.WORKFLOW_COMPLETED && type <= EventType.WORKFLOW_CANCELLED;

/** The status that a workflow's terminal event sets. */
export const statusOfTerminal = (type: number): number => type - EventType.WORKFLOW_COMPLETED + 2;

/** Bytes that an event counts with against every bound: its payload and a flat 100 for the rest. */
export const sizeOf = (event: NewEvent): number => sizeBesidePayload(event) + payloadSize(event.payload);

/** The same of several whose payloads are known to have so many bytes together: to count them takes as long as the rest. */
export const sizeOfAll = (events: readonly NewEvent[], payloadBytes: number): number =>
  events.reduce((sum, event) => sum + sizeBesidePayload(event), payloadBytes);

function sizeBesidePayload({ taskExecutionId, producerId, observation }: NewEvent): number {
  const size = 100 + taskExecutionId.length + producerId.length;
  if (observation === undefined) return size;
  return size + Buffer.byteLength(observation.observationId) + Buffer.byteLength(observation.metadata);
}

/** Bytes of a payload in UTF-8. */
export function payloadSize(payload: Payload): number {
  if (payload === undefined) return 0;
  return typeof payload === "string" ? Buffer.byteLength(payload) : payload.byteLength;
}
