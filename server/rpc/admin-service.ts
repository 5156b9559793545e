/** AdminService: tenants, keys, sessions, statistics, system events. */
import { randomBytes } from "node:crypto";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { AdminService, Role, type TenantLimits } from "../../gen/tributary/v1/admin_service_pb.ts";
import { createApiKeySecret, hashApiKey } from "../auth/api-key.ts";
import type { CredentialStore } from "../auth/credential-store.ts";
import type { Revocations } from "../auth/revocations.ts";
import { keepReplacedMs, mostSigningKeys } from "../auth/signing-keys.ts";
import { DomainError } from "../core/errors.ts";
import type { LimitsCache } from "../core/quota/limits-cache.ts";
import type { ApiKey, Tenant, TenantStore } from "../core/tenants.ts";
import { principalOf } from "./context.ts";
import { fromPageToken, keyPosition, pageSizeOf, slugPosition, toPageToken } from "./page-token.ts";
import { closeSession, listSessions, type SessionAdminDeps } from "./session-admin.ts";
import { getStats, type StatsServiceDeps } from "./stats.ts";
import { type SystemEventServiceDeps, streamSystemEvents } from "./system-events.ts";

export interface AdminDeps
  extends SessionAdminDeps,
    Omit<StatsServiceDeps, "tenants">,
    Omit<SystemEventServiceDeps, "tenants"> {
  readonly tenants: TenantStore;
  readonly credentials: Pick<CredentialStore, "rotateSigningKey">;
  readonly revocations: Revocations;
  readonly limitsCache: Pick<LimitsCache, "noteChanged">;
}

export function adminService(router: ConnectRouter, deps: AdminDeps): void {
  router.service(AdminService, {
    async createTenant(request) {
      const tenant = await deps.tenants.createTenant({
        slug: request.slug,
        displayName: request.displayName,
        limits: toLimits(request.limits),
        retentionMs: Number(request.retentionMs),
        retentionEvents: Number(request.retentionEvents),
      });
      if (tenant === undefined) {
        throw new DomainError(
          "already_exists",
          `slug: there is a tenant ${request.slug} already; choose another slug`,
        );
      }
      return { tenant: toTenantMessage(tenant) };
    },
    listSessions: (request, context) => listSessions(deps, request, context),
    closeSession: (request, context) => closeSession(deps, request, context),
    getStats: (request, context) => getStats(deps, request, context),
    streamSystemEvents: (request, context) => streamSystemEvents(deps, request, context),
    async updateTenant(request) {
      const tenant = await deps.tenants.updateTenant(request.slug, {
        displayName: request.displayName,
        limits: request.limits && toLimits(request.limits),
        retentionMs: toOptionalNumber(request.retentionMs),
        retentionEvents: toOptionalNumber(request.retentionEvents),
        disabled: request.disabled,
      });
      if (tenant === undefined) throw unknownTenant(request.slug);
      if (request.limits !== undefined) deps.limitsCache.noteChanged(tenant.slug, tenant.limits);
      if (tenant.disabled) deps.revocations.noteTenant(tenant.slug);
      return { tenant: toTenantMessage(tenant) };
    },
    async listTenants(request) {
      const after = fromPageToken(request.pageToken, slugPosition)?.slug ?? "";
      const page = await deps.tenants.listTenants(pageSizeOf(request.pageSize), after);
      return {
        tenants: page.tenants.map(toTenantMessage),
        nextPageToken: toPageToken(page.next === undefined ? undefined : { slug: page.next }),
      };
    },
    async createApiKey(request, context) {
      const tenantSlug = tenantOf(context, request.tenantSlug);
      const secret = createApiKeySecret();
      const key = await deps.tenants.createKey(
        {
          apiKeyId: `key_${randomBytes(9).toString("base64url")}`,
          tenant: tenantSlug,
          displayName: request.displayName,
          roles: request.roles.length === 0 ? [Role.READ, Role.PUBLISH] : [...new Set(request.roles)],
        },
        hashApiKey(secret),
      );
      if (key === undefined) throw unknownTenant(tenantSlug);
      return { apiKeyId: key.apiKeyId, key: secret };
    },
    async listApiKeys(request, context) {
      const tenantSlug = tenantOf(context, request.tenantSlug);
      const after = fromPageToken(request.pageToken, keyPosition);
      const { keys, more } = await deps.tenants.listKeys(tenantSlug, pageSizeOf(request.pageSize), after);
      const last = keys.at(-1);
      return {
        apiKeys: keys.map(toKeyMessage),
        nextPageToken: toPageToken(
          more && last !== undefined ? { createdMs: last.createdMs, apiKeyId: last.apiKeyId } : undefined,
        ),
      };
    },
    async revokeApiKey({ apiKeyId }, context) {
      const found = await deps.tenants.findKey(apiKeyId);
      if (found === undefined) {
        throw new DomainError(
          "not_found",
          `api_key_id: there is no key ${JSON.stringify(apiKeyId)}; see ListApiKeys`,
        );
      }
      const principal = principalOf(context);
      if (principal.kind !== "admin" && principal.tenant !== found.tenant) {
        throw new DomainError("permission_denied", "api_key_id: the key belongs to another tenant");
      }
      const key = await deps.tenants.revokeKey(apiKeyId);
      deps.revocations.noteKey(apiKeyId);
      return { apiKey: toKeyMessage(key ?? found) };
    },
    async rotateSigningKey({ retireOlder }) {
      const made = await deps.credentials.rotateSigningKey(retireOlder, mostSigningKeys);
      if (made === undefined) {
        throw new DomainError(
          "failed_precondition",
          `there are ${mostSigningKeys} signing keys, replaced within the last hour; try again when the oldest is gone, or retire them with retire_older`,
        );
      }
      await deps.revocations.noteSigningKey(made.signingKeyId);
      return {
        signingKeyId: made.signingKeyId,
        createdMs: BigInt(made.createdMs),
        olderEndMs: retireOlder ? 0n : BigInt(made.createdMs + keepReplacedMs),
      };
    },
  });
}

/** The tenant that a call is about: a tenant's key administers its own tenant alone, and need not name it. */
function tenantOf(context: HandlerContext, slug: string): string {
  const principal = principalOf(context);
  if (principal.kind === "admin") {
    if (slug !== "") return slug;
    throw new DomainError("invalid_argument", "tenant_slug: empty; with the admin key name the tenant");
  }
  if (slug === "" || principal.tenant === slug) return principal.tenant;
  throw new DomainError("permission_denied", `tenant_slug: ${slug} is not the tenant of the credential`);
}

const unknownTenant = (slug: string) =>
  new DomainError("not_found", `there is no tenant ${slug}; make it with AdminService.CreateTenant`);

const toOptionalNumber = (value: bigint | undefined) => (value === undefined ? undefined : Number(value));

const toLimits = (limits: TenantLimits | undefined) => ({
  maxStreams: limits?.maxStreams ?? 0,
  maxSessions: limits?.maxSessions ?? 0,
  maxEventsPerSecond: limits?.maxEventsPerSecond ?? 0,
  maxBytesPerSecond: Number(limits?.maxBytesPerSecond ?? 0n),
  maxOpenWorkflows: limits?.maxOpenWorkflows ?? 0,
});

const toTenantMessage = (tenant: Tenant) => ({
  slug: tenant.slug,
  displayName: tenant.displayName,
  limits: { ...tenant.limits, maxBytesPerSecond: BigInt(tenant.limits.maxBytesPerSecond) },
  retentionMs: BigInt(tenant.retentionMs),
  retentionEvents: BigInt(tenant.retentionEvents),
  disabled: tenant.disabled,
  createdMs: BigInt(tenant.createdMs),
});

const toKeyMessage = (key: ApiKey) => ({
  apiKeyId: key.apiKeyId,
  tenantSlug: key.tenant,
  displayName: key.displayName,
  roles: key.roles as Role[],
  createdMs: BigInt(key.createdMs),
  revokedMs: BigInt(key.revokedMs ?? 0),
});
