/** Calls the function `append_plain` (db/migrations/0011_append_plain.sql) for one group; see there for the meaning of each array. */
import { toArrayLiteral, toTextArrayLiteral, toUuidArrayLiteral } from "../array-literal.ts";
import type { Client } from "../pool.ts";
import { type AppendAnswer, type AppendGroup, type PlainPart, toObservationArrays } from "./append-group.ts";

const text = `select * from append_plain(
  $1::uuid[], $2::int[], $3::int[], $4::uuid[], $5::text[], $6::text[],
  $7::int[], $8::int[], $9::bigint[], $10::smallint[], $11::bigint[], $12::int[], $13::int[], $14::boolean[],
  $15::int[], $16::bigint[], $17::bigint[], $18::int[],
  $19::int[], $20::text[], $21::text[], $22::real[], $23::real[], $24::bigint[], $25::bytea, $26::int[], $27::bytea)`;

/** undefined: something in it is not plain, and nothing was stored. */
export async function appendPlain(
  client: Client,
  group: AppendGroup,
  plain: PlainPart,
): Promise<AppendAnswer | undefined> {
  const { rows } = await client.query({
    name: "append_plain",
    text,
    values: [
      toUuidArrayLiteral(group.streams),
      toArrayLiteral(plain.counts),
      toArrayLiteral(group.keyStream),
      toUuidArrayLiteral(group.keyWorkflow),
      toTextArrayLiteral(group.keyTask),
      toTextArrayLiteral(group.keyProducer),
      toArrayLiteral(group.entryKey),
      toArrayLiteral(plain.ranks),
      toArrayLiteral(group.entrySequence),
      toArrayLiteral(group.entryType),
      toArrayLiteral(group.entryTimestamp),
      toArrayLiteral(group.entryStart),
      toArrayLiteral(group.entrySize),
      toArrayLiteral(group.entryIsText),
      toArrayLiteral(plain.numberedEntry),
      toArrayLiteral(plain.numberedEpoch),
      toArrayLiteral(plain.numberedFirst),
      toArrayLiteral(plain.ends),
      ...toObservationArrays(group),
      group.payload,
      group.entryTrace === undefined ? null : toArrayLiteral(group.entryTrace),
      group.traces ?? null,
    ],
  });
  const [row] = rows;
  if (row.first_offsets === null) return undefined;
  const firstOffsets: number[] = row.first_offsets.map(Number);
  return {
    decisions: undefined,
    firstOffsets,
    lastOffsets: firstOffsets.map((first, i) => first + (plain.counts[i] as number) - 1),
    opResults: [],
    recordedMs: Number(row.recorded_ms),
  };
}
