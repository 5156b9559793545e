/** Last offsets of many streams, in one query: the tail check. */
import type { Queryable } from "../pool.ts";

export async function readTails(db: Queryable, streamIds: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await db.query({
    name: "read_tails",
    text: "select stream_id, next_offset - 1 as tail_offset from stream where stream_id = any ($1::uuid[])",
    values: [streamIds],
  });
  return new Map(rows.map((row) => [row.stream_id, Number(row.tail_offset)]));
}
