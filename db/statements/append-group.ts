/** A group of entries and ops as the functions `append` and `append_plain` take it, one array a column, and what they answer. */
import type { BindMessage } from "../bind-message.ts";

export interface AppendGroup {
  /** In rising order. */
  readonly streams: readonly string[];
  readonly keyStream: readonly number[];
  readonly keyWorkflow: readonly string[];
  readonly keyTask: readonly string[];
  readonly keyProducer: readonly string[];
  readonly keyEpoch: readonly number[];
  readonly entryKey: readonly number[];
  readonly entrySequence: readonly number[];
  readonly entryType: readonly number[];
  readonly entryTimestamp: readonly number[];
  readonly entryStart: readonly number[];
  readonly entrySize: readonly number[];
  readonly entryIsText: readonly boolean[];
  readonly entryChain: readonly number[];
  /** Entries that are observations, by number from 1. */
  readonly observationEntry: readonly number[];
  readonly observationId: readonly string[];
  /** As JSON. */
  readonly observationMetadata: readonly string[];
  readonly observationConfidence: readonly number[];
  readonly observationImportance: readonly number[];
  readonly observationObserved: readonly number[];
  readonly ops: readonly object[];
  /** Of entries and ops, one after the other; text as UTF-8. */
  readonly payloads: readonly (string | Uint8Array)[];
  /** Of all payloads. */
  readonly payloadBytes: number;
  /** One per entry: number of its trace context, from 1; 0: none. undefined: no entry has one. */
  readonly entryTrace: readonly number[] | undefined;
  /** 25 bytes each. */
  readonly traces: Buffer | undefined;
  /** undefined: it is not plain, as it stands. */
  readonly plain: PlainPart | undefined;
}

/** Of a group that `append_plain` may store: see there. Entries are numbered from 1. */
export interface PlainPart {
  /** Entries of each stream. */
  readonly counts: readonly number[];
  /** One per entry: how many of its stream are before it. */
  readonly ranks: readonly number[];
  /** One per producer with numbers, or session: its last entry, its epoch (0: no session), its first number. */
  readonly numberedEntry: readonly number[];
  readonly numberedEpoch: readonly number[];
  readonly numberedFirst: readonly number[];
  /** Entries that end a task. */
  readonly ends: readonly number[];
}

/** 1 stored, 2 duplicate, 3 workflow closed, 4 task closed, 5 workflow unknown, 6 skipped, 7 of an older epoch, 8 passed, 9 observation id taken. */
export type Decision = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;

/** A final rejection as the session's row keeps it: decided by `append`, or before (code and message). */
export interface RejectionRow {
  readonly sequence: number;
  readonly refusal?: 3 | 4 | 5 | 9;
  readonly workflow?: string;
  readonly task?: string;
  readonly observation?: string;
  readonly code?: number;
  readonly message?: string;
}

export interface OpAnswer {
  readonly result: string;
  readonly offset?: number;
  readonly status?: number;
  readonly open?: number;
  readonly most?: number;
  readonly epoch?: number;
  readonly lastSequence?: number;
  readonly lastOffset?: number;
  readonly rejections?: readonly RejectionRow[];
  readonly cancels?: readonly { readonly workflow: string; readonly reason: string }[];
  /** Of variables, as 0007_append_by_key.sql says it. */
  readonly set?: readonly [
    version: number,
    rulesVersion: number,
    createdMs: number,
    metadata?: Readonly<Record<string, string>>,
  ][];
  readonly conflicts?: readonly [index: number, version: number][];
  readonly stale?: readonly number[];
  readonly large?: readonly number[];
}

export interface AppendAnswer {
  /** undefined: all stored. */
  readonly decisions: readonly Decision[] | undefined;
  readonly firstOffsets: readonly number[];
  readonly lastOffsets: readonly number[];
  readonly opResults: readonly OpAnswer[];
  readonly recordedMs: number;
}

/** Those of the observations, in their order in both functions. */
export const bindObservations = (parameters: BindMessage, group: AppendGroup): BindMessage =>
  parameters
    .int4s(group.observationEntry)
    .texts(group.observationId)
    .texts(group.observationMetadata)
    .float4s(group.observationConfidence)
    .float4s(group.observationImportance)
    .int8s(group.observationObserved);

/** The number of each entry's trace context, and those. */
export const bindTraces = (parameters: BindMessage, { entryTrace, traces }: AppendGroup): BindMessage =>
  entryTrace === undefined || traces === undefined
    ? parameters.null().null()
    : parameters.int4s(entryTrace).bytes([traces], traces.byteLength);
