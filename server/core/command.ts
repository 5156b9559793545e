/**
 * What enters a lane: a command is refused or stored on its own, with its own result; a group commit only shares the
 * round trip. A caller that sends several commands as one list (PublishTaskEvents) gives them one chain: after the first
 * refused entry of a chain nothing later of it is stored.
 */
import type { NewEvent } from "./event.ts";

export type Lane = "high" | "normal" | "low";

interface CommandBase {
  readonly tenant: string;
  readonly streamId: string;
  readonly lane: Lane;
  /** What it counts with. */
  readonly entries: number;
  readonly bytes: number;
  /** May it be sent again when the connection broke in the commit and the outcome is unknown? */
  readonly idempotent: boolean;
  /** Given up as "unavailable" when it could not be sent to the database for so long, ms; undefined: waits on. */
  readonly patienceMs: number | undefined;
}

/** Commands of one caller that stop together. */
export interface Chain {
  /** Set with the first refused or failed entry, or by who gives the rest up. */
  broken: boolean;
}

export interface AppendEntries extends CommandBase {
  readonly kind: "entries";
  readonly chain: Chain;
  readonly events: readonly NewEvent[];
  /**
   * Entries of a session, numbered without a hole; `producerId` is its id. A refused one does not break the chain: its
   * number is passed, and what follows stands.
   */
  readonly session?: { readonly epoch: number };
  /** Trace context of the call that it came by, if that is sampled: the span of the commit is linked to it. */
  readonly trace?: string | undefined;
}

/** The type of an entry of a session that was refused before it came here: only its number is passed. Never stored. */
export const passedType = 0;

/** A connection takes a session: makes it, or raises its epoch so that older connections' entries are refused. */
export interface AttachSession extends CommandBase {
  readonly kind: "attach";
  readonly sessionId: string;
  /** Of task events; undefined: of observations. */
  readonly workflowId: string | undefined;
  readonly resume: boolean;
  readonly leaseMs: number;
  /** 0: no limit. */
  readonly maxSessions: number;
}

/** A session ends for good. */
export interface EndSession extends CommandBase {
  readonly kind: "end";
  readonly sessionId: string;
  /** Number of tributary.v1.SessionClosedReason. */
  readonly reason: number;
  /** Only if no other connection has taken it since; undefined: in any case. */
  readonly epoch: number | undefined;
}

export interface CreateWorkflow extends CommandBase {
  readonly kind: "create";
  readonly workflowId: string;
  readonly parentWorkflowId: string | undefined;
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly retentionMaxAgeMs: number | undefined;
  readonly retentionMaxEvents: number | undefined;
  readonly payload: string;
}

export interface CloseWorkflow extends CommandBase {
  readonly kind: "close";
  readonly workflowId: string;
  readonly status: number;
  readonly payload: string;
  readonly closeDescendants: boolean;
  /** Payload of the descendants' events. */
  readonly descendantPayload: string;
}

export interface RequestCancel extends CommandBase {
  readonly kind: "cancel";
  readonly workflowId: string;
  readonly reason: string;
  readonly payload: string;
}

/** One of `SetVariables`. Texts are JSON. */
export interface VariableItem {
  readonly name: string;
  /** If the variable is new. */
  readonly type: number;
  readonly value: string;
  /** "": none; undefined: as they are. */
  readonly constraints: string | undefined;
  /** Merged into what there is. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly clearMetadata: boolean;
  /** 0: must not exist; undefined: whatever it is. */
  readonly expectedVersion: number | undefined;
  /** Version of the rules that it was judged by; 0: the variable does not exist. */
  readonly rulesVersion: number;
}

/** Sets variables of one workflow, all or none; their names differ. */
export interface SetVariables extends CommandBase {
  readonly kind: "set_variables";
  readonly workflowId: string;
  readonly source: string;
  readonly items: readonly VariableItem[];
  /** Should the answer have the metadata? */
  readonly full: boolean;
}

export interface DeleteVariable extends CommandBase {
  readonly kind: "delete_variable";
  readonly workflowId: string;
  readonly name: string;
  readonly source: string;
  readonly expectedVersion: number | undefined;
}

export type Command =
  | AppendEntries
  | CreateWorkflow
  | CloseWorkflow
  | RequestCancel
  | AttachSession
  | EndSession
  | SetVariables
  | DeleteVariable;

/** Why an entry was not stored. `fenced`: another connection has taken the session. `passed`: it was refused before. */
export type Refusal =
  | "workflow_closed"
  | "task_closed"
  | "workflow_unknown"
  | "skipped"
  | "fenced"
  | "passed"
  | "observation_exists"
  | "unstorable";

export interface EntriesResult {
  readonly kind: "entries";
  readonly stored: number;
  readonly duplicates: number;
  /** Of the last stored entry; 0 if none was. */
  readonly lastOffset: number;
  /** Those that were not stored, in order. Outside sessions the first one is why, and the rest of its chain is skipped. */
  readonly refusals: readonly { readonly index: number; readonly why: Refusal }[];
}

/** A final rejection that a session was or should have been told of. */
export interface FinalRejection {
  readonly sequence: number;
  readonly code: number;
  readonly message: string;
}

export interface SessionResult {
  readonly kind: "session";
  readonly result: "attached" | "unknown" | "ended" | "unchanged" | "other_target" | "too_many" | "fenced";
  readonly epoch: number;
  readonly lastSequence: number;
  readonly lastOffset: number;
  /** Newest last. */
  readonly rejections: readonly FinalRejection[];
  /** Workflows whose cancellation somebody asked for. */
  readonly cancels: readonly { readonly workflowId: string; readonly reason: string }[];
}

export interface LifecycleResult {
  readonly kind: "lifecycle";
  readonly result:
    | "created"
    | "exists"
    | "parent_closed"
    | "too_deep"
    | "too_many"
    | "closed"
    | "unchanged"
    | "closed_otherwise"
    | "requested"
    | "unknown";
  /** Of the workflow's creation or terminal event, where there is one. */
  readonly offset: number;
  /** The workflow's status, where the result is about it. */
  readonly status: number;
  /** Of too_many: open workflows of the tenant, and how many there may be; else 0. */
  readonly open: number;
  readonly most: number;
}

/** A variable after it was set. */
export interface SetItem {
  readonly version: number;
  readonly rulesVersion: number;
  readonly createdMs: number;
  /** Empty if not asked for. */
  readonly metadata: Readonly<Record<string, string>>;
}

export type VariablesResult = { readonly kind: "variables" } & (
  | {
      readonly result: "set";
      /** Of the first entry; the others follow. */
      readonly offset: number;
      readonly recordedMs: number;
      readonly items: readonly SetItem[];
    }
  | { readonly result: "deleted"; readonly offset: number }
  /** These are of another version than expected; 0: do not exist. */
  | {
      readonly result: "conflict";
      readonly conflicts: readonly { readonly index: number; readonly version: number }[];
    }
  /** These were judged by rules that are not theirs (any more). */
  | { readonly result: "rules"; readonly stale: readonly number[] }
  /** The metadata of these would be too large, merged. */
  | { readonly result: "metadata"; readonly large: readonly number[] }
  | { readonly result: "missing" | "unknown" }
  | { readonly result: "closed"; readonly status: number }
);

export type CommandResult = EntriesResult | LifecycleResult | SessionResult | VariablesResult;
