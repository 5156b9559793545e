/**
 * Reading variables. Writing them is `append`'s (0007_append_by_key.sql). Each statement names the stream too: a caller may
 * remember a workflow that was deleted, and whose id another tree has by now.
 */
import pg from "pg";
import type { Queryable } from "../pool.ts";

export interface RulesRow {
  readonly name: string;
  readonly type: number;
  readonly constraints: string | null;
  readonly rulesVersion: number;
  readonly version: number;
}

export interface VariableRow {
  readonly name: string;
  readonly type: number;
  readonly value: string;
  readonly constraints: string | null;
  readonly metadata: Record<string, string>;
  readonly version: number;
  readonly source: string;
  readonly offset: number;
  readonly createdMs: number;
  readonly updatedMs: number;
}

export interface SnapshotRow {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

/** What it was, from its row or, if that has changed since, from the entry. */
export type VariableAtRow =
  | (VariableRow & { readonly payload: null })
  | {
      readonly type: null;
      readonly offset: number;
      readonly payload: string | null;
      readonly recordedMs: number | null;
    };

const types = {
  getTypeParser: (oid: number) => (oid === pg.types.builtins.INT8 ? Number : pg.types.getTypeParser(oid)),
};

/** Whose variables. */
export interface OwnerKey {
  readonly workflowId: string;
  readonly streamId: string;
}

/** Is $1 a workflow of the stream $2? */
const isOwned = "exists (select from workflow w where w.workflow_id = $1 and w.stream_id = $2)";

const columns = `v.name, v.type, v.value, v.constraints, v.metadata, v.version, v.source, v."offset",
  v.created_ms as "createdMs", v.updated_ms as "updatedMs"`;
/** About what a variable counts with in a message. */
const bytes = `200 + octet_length(v.name) + octet_length(v.value) + coalesce(octet_length(v.constraints), 0)
  + octet_length(v.metadata::text) + octet_length(v.source)`;

export async function readRules(
  db: Queryable,
  { workflowId, streamId }: OwnerKey,
  names: readonly string[],
): Promise<RulesRow[]> {
  const { rows } = await db.query({
    name: "read_variable_rules",
    text: `select name, type, constraints, rules_version as "rulesVersion", version
             from variable where workflow_id = $1 and name = any ($3::text[]) and not deleted and ${isOwned}`,
    values: [workflowId, streamId, names],
    types,
  });
  return rows;
}

export async function findVariable(
  db: Queryable,
  { workflowId, streamId }: OwnerKey,
  name: string,
): Promise<VariableRow | undefined> {
  const { rows } = await db.query({
    name: "find_variable",
    text: `select ${columns} from variable v where workflow_id = $1 and name = $3 and not deleted and ${isOwned}`,
    values: [workflowId, streamId, name],
    types,
  });
  return rows[0];
}

/** By name, after the given one: at most `limit`, and `maxBytes` unless one alone is larger. */
export async function listVariables(
  db: Queryable,
  { workflowId, streamId }: OwnerKey,
  options: { after: string; limit: number; maxBytes: number },
): Promise<{ rows: VariableRow[]; more: boolean }> {
  const { rows } = await db.query({
    name: "list_variables",
    text: `select * from (
             select *, row_number() over (order by name) as no, sum(bytes) over (order by name) as total, count(*) over () as found
               from (select ${columns}, ${bytes} as bytes from variable v
                      where workflow_id = $1 and name > $3 and not deleted and ${isOwned} order by name limit $4::int + 1) as v) as v
            where no = 1 or (no <= $4 and total <= $5) order by no`,
    values: [workflowId, streamId, options.after, options.limit, options.maxBytes],
    types,
  });
  return { rows, more: rows.length > 0 && rows.length < rows[0].found };
}

/** Names and offsets with the tail of the stream, in one statement and so in one snapshot. undefined: no such workflow. */
export async function readVariableSnapshot(
  db: Queryable,
  { workflowId, streamId }: OwnerKey,
  names: readonly string[] | undefined,
  limit: number,
): Promise<{ tailOffset: number; rows: SnapshotRow[] } | undefined> {
  const { rows } = await db.query({
    name: `read_variable_snapshot_${names === undefined ? "all" : "named"}`,
    text: `select s.next_offset - 1 as "tailOffset", v.*
             from workflow w join stream s using (stream_id)
             left join lateral (
               select v.name, v."offset", ${bytes} as bytes from variable v
                where v.workflow_id = w.workflow_id and not v.deleted ${names === undefined ? "" : "and v.name = any ($4::text[])"}
                order by v.name limit $3) as v on true
            where w.workflow_id = $1 and w.stream_id = $2`,
    values: [workflowId, streamId, limit, ...(names === undefined ? [] : [names])],
    types,
  });
  const [first] = rows;
  if (first === undefined) return undefined;
  return { tailOffset: first.tailOffset, rows: rows.filter((row) => row.name !== null) };
}

/** What these were at these offsets, in order. */
export async function readVariablesAt(
  db: Queryable,
  { workflowId, streamId }: OwnerKey,
  names: readonly string[],
  offsets: readonly number[],
): Promise<VariableAtRow[]> {
  const { rows } = await db.query({
    name: "read_variables_at",
    // offset 0: one index look-up each, whatever the planner believes of the tables' sizes.
    text: `select ${columns}, i.o as "offset", convert_from(e.payload, 'UTF8') as payload, e.recorded_ms as "recordedMs"
             from unnest($3::text[], $4::bigint[]) with ordinality as i(name, o, no)
             left join lateral (select * from variable
                                 where workflow_id = $2 and name = i.name and "offset" = i.o and not deleted
                                   and exists (select from workflow w where w.workflow_id = $2 and w.stream_id = $1) offset 0) as v on true
             left join lateral (select * from event
                                 where v.type is null and stream_id = $1 and "offset" = i.o and type = 30 offset 0) as e on true
            order by i.no`,
    values: [streamId, workflowId, names, offsets],
    types,
  });
  return rows;
}
