/** Variables: what they are, and where they are kept. The numbers are those of the wire and of the table. */
import type { WorkflowKey } from "../access.ts";

export const VariableType = { BOOLEAN: 1, INTEGER: 2, FLOAT: 3, STRING: 4, CHOICE: 5, JSON: 6 } as const;

/** As "INTEGER", the name that entries and messages use. */
export const typeName = (type: number): string =>
  Object.entries(VariableType).find(([, number]) => number === type)?.[0] ?? String(type);

/** Rules that a value must keep; undefined, "" and empty: none. */
export interface Constraints {
  readonly min?: number | undefined;
  readonly max?: number | undefined;
  /** In Unicode code points. */
  readonly minLength?: number | undefined;
  readonly maxLength?: number | undefined;
  readonly pattern?: string | undefined;
  readonly choices?: readonly string[] | undefined;
}

/** A variable as stored. */
export interface Variable {
  readonly workflowId: string;
  readonly name: string;
  readonly type: number;
  /** As JSON.parse gives it. */
  readonly value: unknown;
  readonly constraints: Constraints | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly version: number;
  /** Who changed it last. */
  readonly source: string;
  /** Of the last change. */
  readonly offset: number;
  readonly createdMs: number;
  readonly updatedMs: number;
}

/** What a value is judged by. */
export interface Rules {
  /** 0: the variable does not exist. */
  readonly type: number;
  readonly constraints: Constraints | undefined;
  /** Rises with each change of type or constraints; 0: does not exist. */
  readonly rulesVersion: number;
  /** The variable's own; 0: does not exist. */
  readonly version: number;
}

/** One variable of a snapshot; its content is read by `readAt`. */
export interface SnapshotEntry {
  readonly name: string;
  /** Of its last change up to the snapshot. */
  readonly offset: number;
  /** About what it will count with in a message. */
  readonly bytes: number;
}

export interface Snapshot {
  /** Tail of the stream when the entries were read, in the same statement. */
  readonly offset: number;
  /** By name. */
  readonly entries: readonly SnapshotEntry[];
}

/** Whose variables. */
export type VariableOwner = WorkflowKey;

/** The table of variables. Changes go through `append`; reads throw StoreError "away". */
export interface VariableStore {
  /** Rules of those that exist. */
  readRules(owner: VariableOwner, names: readonly string[]): Promise<ReadonlyMap<string, Rules>>;
  find(owner: VariableOwner, name: string): Promise<Variable | undefined>;
  /** By name, after the given one; at most `size`, and 1 MiB unless one alone is larger. */
  list(
    owner: VariableOwner,
    size: number,
    after: string,
  ): Promise<{ readonly variables: readonly Variable[]; readonly more: boolean }>;
  /** At most `limit` of those with these names, or of all. undefined: no such workflow (any more). */
  readSnapshot(
    owner: VariableOwner,
    names: readonly string[] | undefined,
    limit: number,
  ): Promise<Snapshot | undefined>;
  /**
   * What these were at their offsets, in order, though they may have changed since. Left out is what was changed since and
   * whose entry was trimmed meanwhile: its later state is an entry after the snapshot.
   */
  readAt(owner: VariableOwner, entries: readonly SnapshotEntry[]): Promise<readonly Variable[]>;
}
