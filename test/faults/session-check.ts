/** What must be true of every session at the end, whatever happened to it. */
import type pg from "pg";
import { expect } from "vitest";
import { RejectionCode } from "../../gen/tributary/v1/session_pb.ts";
import { aToken } from "../support/session-call.ts";
import type { SessionWriter } from "../support/session-client.ts";

/** Entries that say their number; those in `poison` can never be stored. */
export const numbered = (count: number, poison: ReadonlySet<number> = new Set(), filler = "") =>
  Array.from({ length: count }, (_, i) =>
    aToken(`${i + 1} ${filler}`, poison.has(i + 1) ? { taskExecutionId: "" } : {}),
  );

/** Every entry is stored exactly once and in order, but for the poison, which was rejected; and the server kept the contract. */
export async function checkStored(
  pool: pg.Pool,
  writer: SessionWriter,
  count: number,
  poison: ReadonlySet<number> = new Set(),
): Promise<void> {
  const { rows } = await pool.query(
    `select sequence::int as n, split_part(convert_from(payload, 'UTF8'), ' ', 1)::int as says
       from event where producer_id = $1 order by stream_id, "offset"`,
    [writer.sessionId],
  );
  const expected = Array.from({ length: count }, (_, i) => i + 1).filter((n) => !poison.has(n));
  expect(rows.map(({ n }) => n)).toEqual(expected);
  expect(rows.map(({ says }) => says)).toEqual(expected);
  expect(writer.problems).toEqual([]);
  expect([...writer.finallyRejected.keys()].toSorted((a, b) => a - b)).toEqual(
    [...poison].toSorted((a, b) => a - b),
  );
  expect(writer.refusals.has(RejectionCode.SEQUENCE_DUPLICATE)).toBe(false);
}

export const nap = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
