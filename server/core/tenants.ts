/** Tenants and their keys as the administration sees them. */

/** 0: no limit. */
export interface TenantLimits {
  readonly maxStreams: number;
  readonly maxSessions: number;
  readonly maxEventsPerSecond: number;
  readonly maxBytesPerSecond: number;
  readonly maxOpenWorkflows: number;
}

export const noLimits: TenantLimits = {
  maxStreams: 0,
  maxSessions: 0,
  maxEventsPerSecond: 0,
  maxBytesPerSecond: 0,
  maxOpenWorkflows: 0,
};

export interface Tenant {
  readonly slug: string;
  readonly displayName: string;
  readonly limits: TenantLimits;
  readonly retentionMs: number;
  readonly retentionEvents: number;
  readonly disabled: boolean;
  readonly createdMs: number;
}

export type NewTenant = Omit<Tenant, "createdMs" | "disabled">;

/** undefined: keeps its value. */
export interface TenantChange {
  readonly displayName: string | undefined;
  readonly limits: TenantLimits | undefined;
  readonly retentionMs: number | undefined;
  readonly retentionEvents: number | undefined;
  readonly disabled: boolean | undefined;
}

export interface ApiKey {
  readonly apiKeyId: string;
  readonly tenant: string;
  readonly displayName: string;
  readonly roles: readonly number[];
  readonly createdMs: number;
  readonly revokedMs: number | undefined;
}

export interface TenantStore {
  /** undefined: the slug is taken. */
  createTenant(tenant: NewTenant): Promise<Tenant | undefined>;
  /** undefined: no such tenant. */
  updateTenant(slug: string, change: TenantChange): Promise<Tenant | undefined>;
  /** undefined: no such tenant. */
  limitsOf(slug: string): Promise<TenantLimits | undefined>;
  /** Without those that do not exist. */
  limitsOfMany(slugs: readonly string[]): Promise<ReadonlyMap<string, TenantLimits>>;
  /** By slug, after the given one. */
  listTenants(size: number, after: string): Promise<{ tenants: readonly Tenant[]; next: string | undefined }>;
  /** undefined: no such tenant. */
  createKey(key: Omit<ApiKey, "createdMs" | "revokedMs">, secretHash: Buffer): Promise<ApiKey | undefined>;
  findKey(apiKeyId: string): Promise<ApiKey | undefined>;
  /** Newest first, after the given one. */
  listKeys(
    tenant: string,
    size: number,
    after: { readonly createdMs: number; readonly apiKeyId: string } | undefined,
  ): Promise<{ keys: readonly ApiKey[]; more: boolean }>;
  /** Revoked already: stays as it is. */
  revokeKey(apiKeyId: string): Promise<ApiKey | undefined>;
}
