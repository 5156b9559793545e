/** What is said in a session, both ways, in core's words; and the numbers of session.proto that core needs. */
import type { NewEvent } from "../event.ts";
import type { Rejection } from "./intake.ts";

/** Numbers of tributary.v1.SessionState. */
export const SessionState = {
  ACTIVE: 1,
  PAUSED: 2,
  BACKPRESSURE: 3,
  OVERLOADED: 4,
  ERROR: 5,
  DRAINING: 6,
  CLOSED: 7,
  DETACHED: 8,
} as const;
export type SessionState = (typeof SessionState)[keyof typeof SessionState];

/** Numbers of tributary.v1.SessionClosedReason. */
export const ClosedReason = {
  CLIENT: 1,
  SUPERSEDED: 2,
  LEASE_EXPIRED: 3,
  DRAINING: 4,
  CREDENTIAL_EXPIRED: 5,
  REVOKED: 6,
  ADMIN: 7,
  DETACHED: 8,
} as const;
export type ClosedReason = (typeof ClosedReason)[keyof typeof ClosedReason];

/** An entry as the client sent it: an event without number and producer, or why it can never be stored. */
export type SessionEntry =
  | { readonly kind: "event"; readonly event: Omit<NewEvent, "producerId" | "sequence"> }
  | { readonly kind: "invalid"; readonly code: number; readonly message: string };

export type SessionInput =
  | { readonly kind: "batch"; readonly first: number; readonly entries: readonly SessionEntry[] }
  | { readonly kind: "flow"; readonly action: number; readonly preferredRate: number }
  | { readonly kind: "close"; readonly drain: boolean; readonly lastSequence: number }
  | { readonly kind: "heartbeat" }
  | { readonly kind: "bad"; readonly message: string };

export type SessionOutput =
  | {
      readonly kind: "ack";
      readonly upTo: number;
      readonly level: "accepted" | "durable";
      readonly lastOffset: number;
      readonly credit: number;
      readonly creditBytes: number;
    }
  | ({ readonly kind: "rejected" } & Rejection)
  | {
      readonly kind: "status";
      readonly state: SessionState;
      readonly queueDepth: number;
      readonly queueCapacity: number;
      readonly pressure: number;
      readonly retryAfterMs: number;
      readonly message: string;
    }
  | { readonly kind: "cancel_requested"; readonly workflowId: string; readonly reason: string }
  | { readonly kind: "heartbeat" }
  | {
      readonly kind: "closed";
      readonly reason: ClosedReason;
      readonly finalSequence: number;
      readonly lastOffset: number;
      readonly discarded: number;
      readonly reconnectAfterMs: number;
    };

/** Numbers of tributary.v1.FlowAction. */
export const FlowAction = { PAUSE: 1, RESUME: 2, SLOW_DOWN: 3, SPEED_UP: 4, BUFFER_STATUS: 5 } as const;
