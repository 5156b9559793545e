/**
 * Stores one group, or what of it may be stored: by the function `append_plain` (append-plain.ts) if all of it may, else by `append`
 * (db/migrations/0001_append.sql, 0003, 0005, 0007, 0009, 0010; see there for the meaning of each array).
 */
import { queryBound } from "../bound-query.ts";
import type { Client } from "../pool.ts";
import { type AppendAnswer, type AppendGroup, bindObservations, bindTraces } from "./append-group.ts";
import { appendPlain } from "./append-plain.ts";

const statement = {
  name: "append",
  text: `select * from append(
  $1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::int[], $8::bigint[], $9::smallint[],
  $10::bigint[], $11::int[], $12::int[], $13::boolean[], $14::int[],
  $15::int[], $16::text[], $17::text[], $18::real[], $19::real[], $20::bigint[], $21::jsonb, $22::bytea, $23::int[], $24::bytea)`,
};

export async function append(client: Client, group: AppendGroup): Promise<AppendAnswer> {
  const stored = group.plain && (await appendPlain(client, group, group.plain));
  return stored ?? judge(client, group);
}

async function judge(client: Client, group: AppendGroup): Promise<AppendAnswer> {
  const rows = await queryBound(client, statement, (parameters) => {
    parameters
      .uuids(group.streams)
      .int4s(group.keyStream)
      .uuids(group.keyWorkflow)
      .texts(group.keyTask)
      .texts(group.keyProducer)
      .int8s(group.keyEpoch)
      .int4s(group.entryKey)
      .int8s(group.entrySequence)
      .int2s(group.entryType)
      .int8s(group.entryTimestamp)
      .int4s(group.entryStart)
      .int4s(group.entrySize)
      .booleans(group.entryIsText)
      .int4s(group.entryChain);
    bindObservations(parameters, group).json(group.ops).bytes(group.payloads, group.payloadBytes);
    bindTraces(parameters, group);
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
