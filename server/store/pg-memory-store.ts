/** MemoryStore on Postgres. */
import { and, asc, eq, gt, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { v7 as uuidv7 } from "uuid";
import type { Pool } from "../../db/pool.ts";
import { memorySpace, stream } from "../../db/schema.ts";
import {
  findObservationId,
  hasWords,
  rankObservations,
  readMatches,
  readObservations,
} from "../../db/statements/recall.ts";
import { limits } from "../core/limits.ts";
import type { MemoryStore, Space } from "../core/memory/memory-store.ts";
import { StoreError } from "../core/ports.ts";
import { isDatabaseAway } from "./store-errors.ts";

/** Entries looked at for one page of matches: so that none takes long, however rare its matches are. */
const candidates = 10_000;

const columns = {
  tenant: memorySpace.tenantSlug,
  space: memorySpace.space,
  streamId: memorySpace.streamId,
  displayName: memorySpace.displayName,
  createdMs: memorySpace.createdMs,
  retentionMaxAgeMs: memorySpace.retentionMaxAgeMs,
  retentionMaxObservations: memorySpace.retentionMaxObservations,
  nextOffset: stream.nextOffset,
};

export function createPgMemoryStore(pool: Pool): MemoryStore {
  const db = drizzle(pool);
  const select = () =>
    db.select(columns).from(memorySpace).innerJoin(stream, eq(stream.streamId, memorySpace.streamId));
  const named = (tenant: string, space: string) =>
    and(eq(memorySpace.tenantSlug, tenant), eq(memorySpace.space, space));

  const findSpace: MemoryStore["findSpace"] = async (tenant, space) => {
    const [row] = await select().where(named(tenant, space));
    return row && toSpace(row);
  };

  return {
    findSpace,

    async createSpace({ tenant, space, displayName, retention }) {
      const streamId = uuidv7();
      const made = await db.transaction(async (tx) => {
        await tx.execute(
          sql`select pg_advisory_xact_lock(hashtextextended(${`memory space ${tenant} ${space}`}, 0))`,
        );
        const taken = await tx
          .select({ space: memorySpace.space })
          .from(memorySpace)
          .where(named(tenant, space));
        if (taken.length > 0) return false;
        await tx.insert(stream).values({ streamId, tenantSlug: tenant, kind: 2 });
        await tx.insert(memorySpace).values({
          tenantSlug: tenant,
          space,
          streamId,
          displayName,
          retentionMaxAgeMs: retention.maxAgeMs,
          retentionMaxObservations: retention.maxObservations,
        });
        return true;
      });
      return made ? findSpace(tenant, space) : undefined;
    },

    async updateSpace(tenant, space, { displayName, retention }) {
      await db
        .update(memorySpace)
        .set({
          // One column at least: an update without any is no statement.
          displayName: displayName ?? sql`${memorySpace.displayName}`,
          ...(retention && {
            retentionMaxAgeMs: retention.maxAgeMs,
            retentionMaxObservations: retention.maxObservations,
          }),
        })
        .where(named(tenant, space));
      return findSpace(tenant, space);
    },

    async listSpaces(tenant, size, after) {
      const rows = await select()
        .where(and(eq(memorySpace.tenantSlug, tenant), gt(memorySpace.space, after)))
        .orderBy(asc(memorySpace.space))
        .limit(size + 1);
      const page = rows.slice(0, fitting(rows, size));
      return { spaces: page.map(toSpace), next: rows.length > page.length ? page.at(-1)?.space : undefined };
    },

    async findObservation(streamId, key) {
      if ("observationId" in key) return findObservationId(pool, streamId, key.observationId);
      return (await readObservations(pool, streamId, [key.offset]))[0];
    },

    hasWords: (text) => hasWords(pool, text),
    rank: ({ streamId, cue, ...options }) => rankObservations(pool, streamId, cue, options),
    readObservations: (streamId, offsets) => readObservations(pool, streamId, offsets),

    async readMatches(streamId, cue, cursor, tail, nowMs) {
      const upTo = Math.min(tail, cursor + candidates);
      const bounds = { limit: limits.batchEntries, maxBytes: limits.batchBytes };
      const found = await reading(() => readMatches(pool, streamId, cue, { cursor, upTo, nowMs, ...bounds }));
      if (found === undefined) return undefined;
      return {
        matches: found.rows.map((observation) => ({ observation, score: observation.score })),
        scannedTo: found.cut ? (found.rows.at(-1)?.offset ?? upTo) : upTo,
        floorOffset: found.floorOffset,
      };
    },
  };
}

async function reading<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw isDatabaseAway(error) ? new StoreError("away", (error as Error).message, error) : error;
  }
}

/** How many of these make a page: at most `size` and 1 MiB; one larger may stand alone. */
function fitting(rows: readonly { displayName: string }[], size: number): number {
  let bytes = 0;
  const end = rows.findIndex((row, i) => {
    bytes += 200 + Buffer.byteLength(row.displayName);
    return i > 0 && bytes > limits.batchBytes;
  });
  return Math.min(size, end === -1 ? size : end);
}

interface Row extends Omit<Space, "retention" | "tailOffset"> {
  readonly retentionMaxAgeMs: number;
  readonly retentionMaxObservations: number;
  readonly nextOffset: number;
}

function toSpace({ retentionMaxAgeMs, retentionMaxObservations, nextOffset, ...row }: Row): Space {
  return {
    ...row,
    retention: { maxAgeMs: retentionMaxAgeMs, maxObservations: retentionMaxObservations },
    tailOffset: nextOffset - 1,
  };
}
