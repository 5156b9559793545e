/** Quotas of tenants that have no limits. */
import type { Quotas } from "../../server/core/quota/quotas.ts";
import { noLimits } from "../../server/core/tenants.ts";

export const noQuotas: Pick<Quotas, "limitsOf" | "admit" | "admitInTurn" | "admitSome"> = {
  limitsOf: () => Promise.resolve(noLimits),
  admit: () => Promise.resolve(),
  admitInTurn: () => Promise.resolve(true),
  admitSome: (_tenant, _last, sizes) => ({ passed: sizes.length, text: "", retryAfterMs: 0 }),
};
