/** What a handler knows of its call: the principal, put there by the access gate, and whose data it is about. */
import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import { type Principal, toAccess } from "../auth/principal.ts";
import type { Access } from "../core/access.ts";
import type { CallNotes } from "../core/call-notes.ts";
import { DomainError } from "../core/errors.ts";
import type { TenantStore } from "../core/tenants.ts";

export const principalKey = createContextKey<Principal | undefined>(undefined, {
  description: "who calls; undefined only for calls that anyone may make",
});

/** Put there by who takes the request in. */
export const notesKey = createContextKey<CallNotes | undefined>(undefined, {
  description: "what is noted of the call, for its line in the log and its span",
});

/** The trace context of the call, if it is sampled: kept with what it writes. */
export const traceOf = (context: HandlerContext): string | undefined => context.values.get(notesKey)?.trace;

export function principalOf(context: Pick<HandlerContext, "method" | "values">): Principal {
  const principal = context.values.get(principalKey);
  if (principal === undefined)
    throw new Error(`no principal in ${context.method.name}: the access gate is missing`);
  return principal;
}

export const accessOf = (context: HandlerContext): Access => toAccess(principalOf(context));

/**
 * Whose data a call of the administration shows, that names a tenant or none; undefined: everybody's. A tenant's key gets
 * its own tenant's, whether it names it or not.
 */
export async function tenantSeenBy(
  { tenants }: { readonly tenants: Pick<TenantStore, "limitsOf"> },
  slug: string,
  context: HandlerContext,
): Promise<string | undefined> {
  const principal = principalOf(context);
  if (principal.kind !== "admin") {
    if (slug === "" || slug === principal.tenant) return principal.tenant;
    throw new DomainError("permission_denied", `tenant_slug: ${slug} is not the tenant of the credential`);
  }
  if (slug === "") return undefined;
  if ((await tenants.limitsOf(slug)) !== undefined) return slug;
  throw new DomainError("not_found", `tenant_slug: there is no tenant ${slug}; see ListTenants`);
}
