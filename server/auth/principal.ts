/** Who calls, as the credential says. The tenant comes from here and from nowhere else. */
import type { Access } from "../core/access.ts";
import type { Caller } from "../core/call-notes.ts";
import { DomainError } from "../core/errors.ts";
import type { CallOwner } from "../core/open-call.ts";

/** What a key may do: the numbers of tributary.v1.Role. */
export const Role = { READ: 1, PUBLISH: 2, MANAGE: 3 } as const;
export type Role = (typeof Role)[keyof typeof Role];

export const roleName = (role: number): string =>
  Object.entries(Role).find(([, value]) => value === role)?.[0] ?? String(role);

export type Principal =
  | { readonly kind: "admin" }
  | {
      readonly kind: "key";
      readonly tenant: string;
      /** undefined: the key of the development mode, which cannot be revoked. */
      readonly apiKeyId: string | undefined;
      readonly roles: readonly Role[];
    }
  | {
      readonly kind: "token";
      readonly tenant: string;
      /** The key with which it was made. */
      readonly apiKeyId: string | undefined;
      /** The key that signed it. */
      readonly signingKeyId: string;
      readonly subtrees: readonly string[];
      readonly includeVariables: boolean;
      readonly expiresMs: number;
    };

/** What the principal may touch. Throws permission_denied for the admin key, which has no tenant. */
export function toAccess(principal: Principal): Access {
  switch (principal.kind) {
    case "admin":
      throw new DomainError(
        "permission_denied",
        "the admin key belongs to no tenant; use an API key of the tenant (AdminService.CreateApiKey)",
      );
    case "key":
      return { tenant: principal.tenant, subtrees: undefined, seesVariables: true };
    case "token":
      return {
        tenant: principal.tenant,
        subtrees: principal.subtrees,
        seesVariables: principal.includeVariables,
      };
  }
}

export function toCallOwner(principal: Principal): CallOwner {
  return {
    tenant: principal.kind === "admin" ? undefined : principal.tenant,
    apiKeyId: principal.kind === "admin" ? undefined : principal.apiKeyId,
    signingKeyId: principal.kind === "token" ? principal.signingKeyId : undefined,
    expiresMs: principal.kind === "token" ? principal.expiresMs : undefined,
  };
}

/** For logs and spans. */
export function toCaller(principal: Principal): Caller {
  const { tenant, apiKeyId: keyId } = toCallOwner(principal);
  return { tenant, credential: principal.kind, keyId };
}
