/** Calls the function `append_plain` (db/migrations/0011_append_plain.sql) for one group; see there for the meaning of each array. */
import { queryBound } from "../bound-query.ts";
import type { Client } from "../pool.ts";
import {
  type AppendAnswer,
  type AppendGroup,
  bindObservations,
  bindTraces,
  type PlainPart,
} from "./append-group.ts";

const statement = {
  name: "append_plain",
  text: `select * from append_plain(
  $1::uuid[], $2::int[], $3::int[], $4::uuid[], $5::text[], $6::text[],
  $7::int[], $8::int[], $9::bigint[], $10::smallint[], $11::bigint[], $12::int[], $13::int[], $14::boolean[],
  $15::int[], $16::bigint[], $17::bigint[], $18::int[],
  $19::int[], $20::text[], $21::text[], $22::real[], $23::real[], $24::bigint[], $25::bytea, $26::int[], $27::bytea)`,
};

/** undefined: something in it is not plain, and nothing was stored. */
export async function appendPlain(
  client: Client,
  group: AppendGroup,
  plain: PlainPart,
): Promise<AppendAnswer | undefined> {
  const rows = await queryBound(client, statement, (parameters) => {
    parameters
      .uuids(group.streams)
      .int4s(plain.counts)
      .int4s(group.keyStream)
      .uuids(group.keyWorkflow)
      .texts(group.keyTask)
      .texts(group.keyProducer)
      .int4s(group.entryKey)
      .int4s(plain.ranks)
      .int8s(group.entrySequence)
      .int2s(group.entryType)
      .int8s(group.entryTimestamp)
      .int4s(group.entryStart)
      .int4s(group.entrySize)
      .booleans(group.entryIsText)
      .int4s(plain.numberedEntry)
      .int8s(plain.numberedEpoch)
      .int8s(plain.numberedFirst)
      .int4s(plain.ends);
    bindObservations(parameters, group).bytes(group.payloads, group.payloadBytes);
    bindTraces(parameters, group);
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
