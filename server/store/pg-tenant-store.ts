/** Tenants, keys and signing keys on Postgres. */
import { randomBytes } from "node:crypto";
import { and, asc, desc, eq, exists, gt, inArray, isNull, lt, ne, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { alias } from "drizzle-orm/pg-core";
import type { Pool } from "../../db/pool.ts";
import { apiKey, signingKey, tenant } from "../../db/schema.ts";
import type { CredentialStore } from "../auth/credential-store.ts";
import type { Role } from "../auth/principal.ts";
import type { ApiKey, Tenant, TenantStore } from "../core/tenants.ts";

const nowMs = sql`(extract(epoch from clock_timestamp()) * 1000)::bigint`;

export function createPgTenantStore(pool: Pool): TenantStore & CredentialStore {
  const db = drizzle(pool);
  /** One at a time on all instances. */
  const changeSigningKeys = <T>(
    change: (within: Pick<typeof db, "$count" | "insert" | "delete">) => Promise<T>,
  ) =>
    db.transaction(async (within) => {
      await within.execute(sql`select pg_advisory_xact_lock(hashtextextended('signing keys', 0))`);
      return change(within);
    });
  return {
    async createTenant({ slug, displayName, limits, retentionMs, retentionEvents }) {
      const [row] = await db
        .insert(tenant)
        .values({ slug, displayName, ...limits, retentionMs, retentionEvents })
        .onConflictDoNothing()
        .returning();
      return row && toTenant(row);
    },

    async updateTenant(slug, { limits, ...change }) {
      const values = Object.fromEntries(
        Object.entries({ ...change, ...limits }).filter(([, value]) => value !== undefined),
      );
      // An update without values is not SQL; it changes nothing.
      const [row] =
        Object.keys(values).length === 0
          ? await db.select().from(tenant).where(eq(tenant.slug, slug))
          : await db.update(tenant).set(values).where(eq(tenant.slug, slug)).returning();
      return row && toTenant(row);
    },

    async limitsOf(slug) {
      const [row] = await db.select().from(tenant).where(eq(tenant.slug, slug));
      return row && toTenant(row).limits;
    },

    async limitsOfMany(slugs) {
      const rows = await db
        .select()
        .from(tenant)
        .where(inArray(tenant.slug, [...slugs]));
      return new Map(rows.map((row) => [row.slug, toTenant(row).limits]));
    },

    async listTenants(size, after) {
      const rows = await db
        .select()
        .from(tenant)
        .where(gt(tenant.slug, after))
        .orderBy(asc(tenant.slug))
        .limit(size + 1);
      const page = rows.slice(0, size);
      return { tenants: page.map(toTenant), next: rows.length > size ? page.at(-1)?.slug : undefined };
    },

    async createKey(key, secretHash) {
      const [owner] = await db.select({ slug: tenant.slug }).from(tenant).where(eq(tenant.slug, key.tenant));
      if (owner === undefined) return undefined;
      const [row] = await db
        .insert(apiKey)
        .values({
          apiKeyId: key.apiKeyId,
          tenantSlug: key.tenant,
          displayName: key.displayName,
          roles: [...key.roles],
          secretHash,
        })
        .returning();
      return row && toApiKey(row);
    },

    async findKey(apiKeyId) {
      const [row] = await db.select().from(apiKey).where(eq(apiKey.apiKeyId, apiKeyId));
      return row && toApiKey(row);
    },

    async listKeys(tenantSlug, size, after) {
      const rows = await db
        .select()
        .from(apiKey)
        .where(
          and(
            eq(apiKey.tenantSlug, tenantSlug),
            after && sql`(${apiKey.createdMs}, ${apiKey.apiKeyId}) < (${after.createdMs}, ${after.apiKeyId})`,
          ),
        )
        .orderBy(desc(apiKey.createdMs), desc(apiKey.apiKeyId))
        .limit(size + 1);
      return { keys: rows.slice(0, size).map(toApiKey), more: rows.length > size };
    },

    async revokeKey(apiKeyId) {
      const [row] = await db
        .update(apiKey)
        .set({ revokedMs: sql`coalesce(${apiKey.revokedMs}, ${nowMs})` })
        .where(eq(apiKey.apiKeyId, apiKeyId))
        .returning();
      return row && toApiKey(row);
    },

    async findKeyByHash(hash) {
      const [row] = await db
        .select({ apiKeyId: apiKey.apiKeyId, tenant: apiKey.tenantSlug, roles: apiKey.roles })
        .from(apiKey)
        .innerJoin(tenant, eq(tenant.slug, apiKey.tenantSlug))
        .where(and(eq(apiKey.secretHash, hash), isNull(apiKey.revokedMs), eq(tenant.disabled, false)));
      return row && { ...row, roles: row.roles as Role[] };
    },

    async findRevoked(apiKeyIds, tenants) {
      const valid =
        apiKeyIds.length === 0
          ? []
          : await db
              .select({ id: apiKey.apiKeyId })
              .from(apiKey)
              .where(and(inArray(apiKey.apiKeyId, [...apiKeyIds]), isNull(apiKey.revokedMs)));
      const enabled =
        tenants.length === 0
          ? []
          : await db
              .select({ slug: tenant.slug })
              .from(tenant)
              .where(and(inArray(tenant.slug, [...tenants]), eq(tenant.disabled, false)));
      return {
        apiKeyIds: new Set(apiKeyIds).difference(new Set(valid.map((row) => row.id))),
        tenants: new Set(tenants).difference(new Set(enabled.map((row) => row.slug))),
      };
    },

    async signingKeys() {
      const read = () =>
        db.select().from(signingKey).orderBy(desc(signingKey.createdMs), desc(signingKey.signingKeyId));
      const found = await read();
      if (found.length > 0) return found;
      // Two instances may do this at once: the second one finds the first one's.
      await changeSigningKeys(async (within) => {
        if ((await within.$count(signingKey)) === 0) await within.insert(signingKey).values(newSigningKey());
      });
      return read();
    },

    rotateSigningKey: (retireOlder, most) =>
      changeSigningKeys(async (within) => {
        if (!retireOlder && (await within.$count(signingKey)) >= most) return undefined;
        const fresh = newSigningKey();
        // Newer than all, whatever the clock did.
        const createdMs = sql`greatest(${nowMs}, (select max(${signingKey.createdMs}) + 1 from ${signingKey}))`;
        const [row] = await within
          .insert(signingKey)
          .values({ ...fresh, createdMs })
          .returning({ signingKeyId: signingKey.signingKeyId, createdMs: signingKey.createdMs });
        if (retireOlder)
          await within.delete(signingKey).where(ne(signingKey.signingKeyId, fresh.signingKeyId));
        return row;
      }),

    async deleteReplacedSigningKeys(replacedForMs) {
      const newer = alias(signingKey, "newer");
      await db.delete(signingKey).where(
        exists(
          db
            .select()
            .from(newer)
            .where(
              and(
                gt(newer.createdMs, signingKey.createdMs),
                lt(newer.createdMs, sql`${nowMs} - ${replacedForMs}`),
              ),
            ),
        ),
      );
    },
  };
}

const newSigningKey = () => ({ signingKeyId: randomBytes(8).toString("hex"), secret: randomBytes(32) });

function toTenant(row: typeof tenant.$inferSelect): Tenant {
  return {
    slug: row.slug,
    displayName: row.displayName,
    limits: {
      maxStreams: row.maxStreams,
      maxSessions: row.maxSessions,
      maxEventsPerSecond: row.maxEventsPerSecond,
      maxBytesPerSecond: row.maxBytesPerSecond,
      maxOpenWorkflows: row.maxOpenWorkflows,
    },
    retentionMs: row.retentionMs,
    retentionEvents: row.retentionEvents,
    disabled: row.disabled,
    createdMs: row.createdMs,
  };
}

function toApiKey(row: typeof apiKey.$inferSelect): ApiKey {
  return {
    apiKeyId: row.apiKeyId,
    tenant: row.tenantSlug,
    displayName: row.displayName,
    roles: row.roles,
    createdMs: row.createdMs,
    revokedMs: row.revokedMs ?? undefined,
  };
}
