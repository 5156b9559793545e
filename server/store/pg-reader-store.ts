/** ReaderStore on Postgres. */
import type { Pool } from "../../db/pool.ts";
import { takeReaders } from "../../db/statements/reader-count.ts";
import type { ReaderStore } from "../core/quota/readers.ts";
import { reading } from "./store-errors.ts";

export const createPgReaderStore = (pool: Pool, instanceId: string): ReaderStore => ({
  take: (tenant, held, wanted, most, leaseMs) =>
    reading(() => takeReaders(pool, instanceId, tenant, { held, wanted, most }, leaseMs)),
});
