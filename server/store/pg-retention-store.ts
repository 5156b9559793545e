/** RetentionStore on Postgres. */
import type { Pool } from "../../db/pool.ts";
import { deleteBatch, raiseFloors } from "../../db/statements/retention.ts";
import type { RetentionStore } from "../core/retention/retention-store.ts";
import { reading } from "./store-errors.ts";

/** Streams looked at in one batch: each costs a little even if few of its entries are to go. */
const streamsOfBatch = 200;

export function createPgRetentionStore(pool: Pool): RetentionStore {
  return {
    async raiseFloors(streams, patient, notedUntilMs) {
      const { trimmed, now, ...raised } = await reading(() =>
        raiseFloors(pool, streams, patient, notedUntilMs),
      );
      return {
        ...raised,
        nowMs: now,
        trimmed: trimmed.map(({ tenant_slug: tenant, ...sums }) => ({ tenant, ...sums })),
      };
    },
    deleteEntries: (entries) => reading(() => deleteBatch(pool, entries, streamsOfBatch)),
  };
}
