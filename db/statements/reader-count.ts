/** Calls reader_take of 0009_quotas.sql; see there. */
import type { Queryable } from "../pool.ts";

export async function takeReaders(
  db: Queryable,
  instanceId: string,
  tenant: string,
  counts: { readonly held: number; readonly wanted: number; readonly most: number },
  leaseMs: number,
): Promise<number> {
  const { rows } = await db.query({
    name: "reader_take",
    text: "select reader_take($1, $2, $3, $4, $5, $6) as granted",
    values: [instanceId, tenant, counts.held, counts.wanted, counts.most, leaseMs],
  });
  return rows[0].granted;
}
