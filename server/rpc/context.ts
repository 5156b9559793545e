/** What a handler knows of its call: the principal, put there by the access gate. */
import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import { type Principal, toAccess } from "../auth/principal.ts";
import type { Access } from "../core/access.ts";

export const principalKey = createContextKey<Principal | undefined>(undefined, {
  description: "who calls; undefined only for calls that anyone may make",
});

export function principalOf(context: HandlerContext): Principal {
  const principal = context.values.get(principalKey);
  if (principal === undefined)
    throw new Error(`no principal in ${context.method.name}: the access gate is missing`);
  return principal;
}

export const accessOf = (context: HandlerContext): Access => toAccess(principalOf(context));
