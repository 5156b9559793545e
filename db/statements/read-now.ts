/** The database's clock, ms. */
import type { Queryable } from "../pool.ts";

export async function readNow(db: Queryable): Promise<number> {
  const { rows } = await db.query({
    name: "read_now",
    text: "select extract(epoch from clock_timestamp()) * 1000 as now_ms",
  });
  return Number(rows[0].now_ms);
}
