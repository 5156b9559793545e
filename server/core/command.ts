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
  /** Set with the first refused or failed entry. */
  broken: boolean;
}

export interface AppendEntries extends CommandBase {
  readonly kind: "entries";
  readonly chain: Chain;
  readonly events: readonly NewEvent[];
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

export type Command = AppendEntries | CreateWorkflow | CloseWorkflow | RequestCancel;

/** Why an entry was not stored. */
export type Refusal = "workflow_closed" | "task_closed" | "workflow_unknown" | "skipped";

export interface EntriesResult {
  readonly kind: "entries";
  readonly stored: number;
  readonly duplicates: number;
  /** Of the last stored entry; 0 if none was. */
  readonly lastOffset: number;
  /** The first entry that was refused; what follows it in the chain was not stored either. */
  readonly refused: { readonly index: number; readonly why: Refusal } | undefined;
}

export interface LifecycleResult {
  readonly kind: "lifecycle";
  readonly result:
    | "created"
    | "exists"
    | "parent_closed"
    | "too_deep"
    | "closed"
    | "unchanged"
    | "closed_otherwise"
    | "requested"
    | "unknown";
  /** Of the workflow's creation or terminal event, where there is one. */
  readonly offset: number;
  /** The workflow's status, where the result is about it. */
  readonly status: number;
}

export type CommandResult = EntriesResult | LifecycleResult;
