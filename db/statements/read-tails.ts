/** Last offsets and floors of many streams, in one query: the tail check. */
import type { Queryable } from "../pool.ts";

export interface BoundsRow {
  readonly tailOffset: number;
  readonly floorOffset: number;
}

export async function readTails(
  db: Queryable,
  streamIds: readonly string[],
): Promise<Map<string, BoundsRow>> {
  const { rows } = await db.query({
    name: "read_tails",
    text: `select s.stream_id, s.next_offset - 1 as tail_offset, coalesce(f.floor_offset, 0) as floor_offset
             from stream s left join stream_floor f using (stream_id) where s.stream_id = any ($1::uuid[])`,
    values: [streamIds],
  });
  return new Map(
    rows.map((row) => [
      row.stream_id,
      { tailOffset: Number(row.tail_offset), floorOffset: Number(row.floor_offset) },
    ]),
  );
}
