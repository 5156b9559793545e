/**
 * What happens when a key is revoked, a tenant is disabled or the signing key is rotated: here at once, on other instances as
 * soon as they hear of it.
 */
import type { Newsroom } from "../core/news.ts";
import type { OpenCalls } from "../core/open-call.ts";
import type { Authenticator } from "./authenticator.ts";
import type { SigningKeys } from "./signing-keys.ts";

export interface RevocationDeps {
  readonly authenticator: Pick<Authenticator, "forget" | "forgetTenant">;
  readonly calls: Pick<OpenCalls, "revoke">;
  readonly signingKeys: Pick<SigningKeys, "readAnew">;
  readonly news: Newsroom;
  readonly onFailure: (message: string, error: Error) => void;
}

export class Revocations {
  readonly #deps: RevocationDeps;

  constructor(deps: RevocationDeps) {
    this.#deps = deps;
    deps.news.on("key_revoked", ({ apiKeyId }) => this.#endKey(apiKeyId));
    deps.news.on("tenant_disabled", ({ tenant }) => this.#endTenant(tenant));
    deps.news.on("signing_key_rotated", () => void this.#endSigningKeys());
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

  /** There is a new signing key in the database; others may be gone. Resolves when this instance signs with it. */
  async noteSigningKey(signingKeyId: string): Promise<void> {
    this.#deps.news.tell("signing_key_rotated", { signingKeyId });
    await this.#endSigningKeys();
  }

  #endKey(apiKeyId: string): void {
    this.#deps.authenticator.forget(apiKeyId);
    this.#deps.calls.revoke((owner) => owner.apiKeyId === apiKeyId);
  }

  #endTenant(tenant: string): void {
    this.#deps.authenticator.forgetTenant(tenant);
    this.#deps.calls.revoke((owner) => owner.tenant === tenant);
  }

  async #endSigningKeys(): Promise<void> {
    try {
      const valid = new Set((await this.#deps.signingKeys.readAnew()).map((key) => key.signingKeyId));
      this.#deps.calls.revoke(({ signingKeyId }) => signingKeyId !== undefined && !valid.has(signingKeyId));
    } catch (error) {
      this.#deps.onFailure("reading the signing keys failed; it is done again within 10 s", error as Error);
    }
  }
}
