/** Builds that the suite must reject. Nothing of this is in the product: lines are replaced as they are loaded. */
import type pg from "pg";

/** A line of the product that is replaced before it runs, to show that the suite notices. */
export interface Patch {
  /** From the root of the repository. */
  readonly file: string;
  readonly line: string;
  readonly with: string;
}

/** Builds of the service with a guarantee taken out. */
export const brokenBuilds = {
  "no tail check": [
    {
      file: "server/core/hub.ts",
      line: "    const tails = await this.#deps.store.readTails(ids);",
      with: "    const tails = new Map<string, StreamBounds>(); if (ids.length >= 0) return;",
    },
  ],
  "acks before the commit": [
    {
      file: "server/core/session/session.ts",
      line: "      this.#intake.take(sizes, taken, taken + entriesOfRun.length);",
      with: `      this.#intake.take(sizes, taken, taken + entriesOfRun.length);
      this.#intake.settled = this.#intake.taken;`,
    },
  ],
  "entries taken from a notice over a hole": [
    {
      file: "server/core/live-stream.ts",
      line: "entries !== undefined && !this.#filling && notice.from <= this.window.tail + 1",
      with: "entries !== undefined && !this.#filling",
    },
    {
      file: "server/core/live-stream.ts",
      line: "      if (event.offset !== this.window.tail + 1) break; // a hole: what follows is read",
      with: "",
    },
    {
      file: "server/core/replay-window.ts",
      line: "    if (event.offset !== this.#tail + 1) {",
      with: "    if (event.offset <= this.#tail) {",
    },
  ],
} as const satisfies Record<string, readonly Patch[]>;

/** `append` as it is in the database, but that it does not look at the epoch of a session. */
export async function removeFence(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query("select pg_get_functiondef('append'::regproc) as source");
  const parts = String(rows[0].source).split("case when p.epoch = k.epoch then p.last_sequence end");
  if (parts.length !== 2)
    throw new Error(`append: the fence must be there once, found ${parts.length - 1} times`);
  await pool.query(parts.join("p.last_sequence"));
}
