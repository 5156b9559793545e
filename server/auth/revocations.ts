/** What happens when a key is revoked or a tenant is disabled: here at once, on other instances as soon as they hear of it. */
import type { Newsroom } from "../core/news.ts";
import type { OpenCalls } from "../core/open-call.ts";
import type { Authenticator } from "./authenticator.ts";

export interface RevocationDeps {
  readonly authenticator: Pick<Authenticator, "forget" | "forgetTenant">;
  readonly calls: Pick<OpenCalls, "revoke">;
  readonly news: Newsroom;
}

export class Revocations {
  readonly #deps: RevocationDeps;

  constructor(deps: RevocationDeps) {
    this.#deps = deps;
    deps.news.on("key_revoked", ({ apiKeyId }) => this.#endKey(apiKeyId));
    deps.news.on("tenant_disabled", ({ tenant }) => this.#endTenant(tenant));
  }

  /** The key was revoked in the database. */
  noteKey(apiKeyId: string): void {
    this.#endKey(apiKeyId);
    this.#deps.news.tell("key_revoked", { apiKeyId });
  }

  /** The tenant was disabled in the database. */
  noteTenant(tenant: string): void {
    this.#endTenant(tenant);
    this.#deps.news.tell("tenant_disabled", { tenant });
  }

  #endKey(apiKeyId: string): void {
    this.#deps.authenticator.forget(apiKeyId);
    this.#deps.calls.revoke((owner) => owner.apiKeyId === apiKeyId);
  }

  #endTenant(tenant: string): void {
    this.#deps.authenticator.forgetTenant(tenant);
    this.#deps.calls.revoke((owner) => owner.tenant === tenant);
  }
}
