/**
 * Stores one group, or what of it may be stored: by the function `append_plain` (append-plain.ts) if all of it may, else by `append`
 * (db/migrations/0001_append.sql, 0003, 0005, 0007, 0009, 0010; see there for the meaning of each array).
 */
import { toArrayLiteral, toTextArrayLiteral, toUuidArrayLiteral } from "../array-literal.ts";
import type { Client } from "../pool.ts";
import { appendPlain } from "./append-plain.ts";

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
  readonly payload: Buffer;
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

const text = `select * from append(
  $1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::int[], $8::bigint[], $9::smallint[],
  $10::bigint[], $11::int[], $12::int[], $13::boolean[], $14::int[],
  $15::int[], $16::text[], $17::text[], $18::real[], $19::real[], $20::bigint[], $21::jsonb, $22::bytea, $23::int[], $24::bytea)`;

export async function append(client: Client, group: AppendGroup): Promise<AppendAnswer> {
  const stored = group.plain && (await appendPlain(client, group, group.plain));
  return stored ?? judge(client, group);
}

async function judge(client: Client, group: AppendGroup): Promise<AppendAnswer> {
  const { rows } = await client.query({
    name: "append",
    text,
    values: [
      toUuidArrayLiteral(group.streams),
      toArrayLiteral(group.keyStream),
      toUuidArrayLiteral(group.keyWorkflow),
      toTextArrayLiteral(group.keyTask),
      toTextArrayLiteral(group.keyProducer),
      toArrayLiteral(group.keyEpoch),
      toArrayLiteral(group.entryKey),
      toArrayLiteral(group.entrySequence),
      toArrayLiteral(group.entryType),
      toArrayLiteral(group.entryTimestamp),
      toArrayLiteral(group.entryStart),
      toArrayLiteral(group.entrySize),
      toArrayLiteral(group.entryIsText),
      toArrayLiteral(group.entryChain),
      toArrayLiteral(group.observationEntry),
      toTextArrayLiteral(group.observationId),
      toTextArrayLiteral(group.observationMetadata),
      toArrayLiteral(group.observationConfidence),
      toArrayLiteral(group.observationImportance),
      toArrayLiteral(group.observationObserved),
      JSON.stringify(group.ops),
      group.payload,
      group.entryTrace === undefined ? null : toArrayLiteral(group.entryTrace),
      group.traces ?? null,
    ],
  });
  const row = rows[0];
  return {
    decisions: row.decisions ?? undefined,
    firstOffsets: (row.first_offsets ?? []).map(Number),
    lastOffsets: (row.last_offsets ?? []).map(Number),
    opResults: row.op_results,
    recordedMs: Number(row.recorded_ms),
  };
}
