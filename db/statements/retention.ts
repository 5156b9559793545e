/** Calls the functions of 0008_retention.sql; see there for what they do and what they lock. Each call is one transaction. */
import type { Queryable } from "../pool.ts";

export interface RaisedRow {
  readonly busy: boolean;
  /** ms by the database's clock. */
  readonly now: number;
  readonly more: boolean;
  readonly left: boolean;
  readonly trimmed: readonly {
    readonly tenant_slug: string;
    readonly streams: number;
    readonly entries: number;
  }[];
}

export interface DeletedRow {
  readonly busy: boolean;
  readonly deleted: number;
  readonly more: boolean;
}

/** `notedUntilMs`: of streams over their limit only those that are known to be since then. Absent: of all. */
export async function raiseFloors(
  db: Queryable,
  streams: number,
  patient: boolean,
  notedUntilMs?: number,
): Promise<RaisedRow> {
  const { rows } = await db.query({
    name: "retention_raise_floors",
    text: "select retention_raise_floors($1, $2, $3) as answer",
    values: [streams, patient, notedUntilMs ?? null],
  });
  return rows[0].answer;
}

export async function deleteBatch(db: Queryable, entries: number, streams: number): Promise<DeletedRow> {
  const { rows } = await db.query({
    name: "retention_delete_batch",
    text: "select retention_delete_batch($1, $2) as answer",
    values: [entries, streams],
  });
  return rows[0].answer;
}

/** Of one stream, below its floor. */
export async function deleteEntries(
  db: Queryable,
  streamId: string,
  entries: number,
): Promise<{ deleted: number; done: boolean }> {
  const { rows } = await db.query({
    name: "retention_delete_entries",
    text: "select deleted, done from retention_delete_entries($1, $2)",
    values: [streamId, entries],
  });
  return rows[0];
}
