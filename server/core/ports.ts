/**
 * The two places where another engine would be put in: `EventStore` keeps the truth, `Bus` carries notices and signals.
 * Each has a contract suite in `test/contracts` that every implementation runs.
 */
import type { Command, CommandResult } from "./command.ts";
import type { StoredEvent } from "./event.ts";

/** Which part of a stream somebody reads; for the whole tree `workflowId` is its root, "" for a space's stream. */
export type ScopeKey =
  | { readonly kind: "tree"; readonly workflowId: string }
  | { readonly kind: "subtree"; readonly workflowId: string }
  | { readonly kind: "workflow"; readonly workflowId: string }
  | { readonly kind: "task"; readonly workflowId: string; readonly taskExecutionId: string };

/** Only these; undefined: all. */
export interface EventFilter {
  readonly types: readonly number[] | undefined;
  readonly tasks: readonly string[] | undefined;
}

/** Where a stream and a scope stand, read in one statement. */
export interface ScopeState {
  readonly streamId: string;
  readonly epoch: number;
  readonly tailOffset: number;
  readonly floorOffset: number;
  /** Of the workflow that was asked for. */
  readonly status: number;
  /** Open workflows in its subtree. */
  readonly openInSubtree: number;
  /** Last offset of the scope, if it has ended. */
  readonly finalOffset: number | undefined;
  /** Terminal type of the task, for a task that ended. */
  readonly taskOutcome: number | undefined;
}

/** What there is of a stream: the entries after the floor, up to the tail. */
export interface StreamBounds {
  readonly tailOffset: number;
  readonly floorOffset: number;
}

export interface PageRequest {
  readonly streamId: string;
  readonly scope: ScopeKey;
  readonly filter: EventFilter;
  /** Rising: entries after it. Falling: entries before it. */
  readonly cursor: number;
  /** Rising: entries up to it. Falling: not used. */
  readonly upTo: number;
  readonly descending: boolean;
  readonly limit: number;
}

export interface Page {
  readonly events: readonly StoredEvent[];
  /** Everything of the scope and filter between the request's cursor and this was in the page. */
  readonly scannedTo: number;
  /** Of the page's own snapshot. */
  readonly floorOffset: number;
  readonly tailOffset: number;
}

export type GroupResult = {
  readonly results: readonly CommandResult[];
  /** What was appended, per stream. */
  readonly notices: readonly Notice[];
};

/** Reads throw StoreError "away" while the database cannot be reached. */
export interface EventStore {
  /**
   * Stores a group of commands in one transaction, in order, each with its own result. Throws StoreError.
   * `connection` is one of the store's commit connections, 0 … commitConnections-1; one call at a time on each.
   */
  append(connection: number, group: readonly Command[]): Promise<GroupResult>;
  /** undefined: no such stream or workflow (any more). */
  readScope(streamId: string, scope: ScopeKey): Promise<ScopeState | undefined>;
  /** A page of at most `limit` entries or 1 MiB. undefined: no such stream (any more). */
  readPage(request: PageRequest): Promise<Page | undefined>;
  /** Of those streams that exist. */
  readTails(streamIds: readonly string[]): Promise<Map<string, StreamBounds>>;
  /** Child → parent, for all workflows of a tree stream. */
  readParents(streamId: string): Promise<Map<string, string>>;
}

/** How a group failed; decides what the appender does next. */
export type StoreFailure =
  /** One command of the group is at fault: nothing was stored, bisect. */
  | "poisoned"
  /** Nothing was stored; the same may work later (lock timeout, deadlock, serialization). */
  | "busy"
  /** Nothing was stored: the database cannot be reached or does not take writes. */
  | "away"
  /** The connection broke in the commit: it may have been stored. */
  | "unknown";

export class StoreError extends Error {
  readonly failure: StoreFailure;
  constructor(failure: StoreFailure, message: string, cause: unknown) {
    super(message, { cause });
    this.name = "StoreError";
    this.failure = failure;
  }
}

/** "These offsets of this stream are committed." May be lost, doubled, late or out of order. */
export interface Notice {
  readonly streamId: string;
  readonly from: number;
  readonly to: number;
  /** The entries themselves, if they came with it. */
  readonly entries: readonly StoredEvent[] | undefined;
}

/** What a signal may say: plain JSON, at most `limits.signalBytes` as text. */
export type SignalBody =
  | null
  | boolean
  | number
  | string
  | readonly SignalBody[]
  | { readonly [name: string]: SignalBody };

export interface Bus {
  publish(notice: Notice): void;
  /**
   * Resolves when the subscription is confirmed: what is published from then on is delivered, usually. While the bus is
   * away it resolves unconfirmed, after a second at most, and is confirmed later (`onRestored`): a reader must not wait
   * for what only makes it faster.
   */
  subscribe(streamId: string, listener: (notice: Notice) => void): Promise<() => void>;
  /**
   * Says something small to all instances, this one included. May be lost, doubled or late: who listens must be right
   * without it, only slower. Neither waits nor throws, but for a topic or body that no bus could carry (RangeError): a
   * topic is words of A-Z a-z 0-9 _ - with dots between them.
   */
  signal(topic: string, body: SignalBody): void;
  /** Resolves when confirmed, as `subscribe`. The listener gets a copy of its own and must not throw. */
  onSignal(topic: string, listener: (body: SignalBody) => void): Promise<() => void>;
  /** undefined: well. Else what is wrong, for people; without credentials. */
  degraded(): string | undefined;
  /** Notices and signals that were not sent so far, since there was nowhere to send them. */
  dropped(): number;
  /** Called when `degraded` says something else. Returns how to stop it. */
  onChange(listener: () => void): () => void;
  /**
   * Called when every subscription is confirmed again after one was not: notices and signals were lost meanwhile, so
   * whoever relies on them looks for himself once. Returns how to stop it.
   */
  onRestored(listener: () => void): () => void;
  close(): Promise<void>;
}
