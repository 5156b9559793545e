/** What authentication needs from the database. Implemented in server/store. */
import type { Role } from "./principal.ts";

export interface StoredKey {
  readonly apiKeyId: string;
  readonly tenant: string;
  readonly roles: readonly Role[];
}

export interface SigningKey {
  readonly signingKeyId: string;
  readonly secret: Uint8Array;
}

export interface CredentialStore {
  /** The key if it is valid: not revoked, its tenant not disabled. */
  findKeyByHash(hash: Buffer): Promise<StoredKey | undefined>;
  /** Of these keys and tenants, those that are revoked or disabled (or gone). */
  findRevoked(
    apiKeyIds: readonly string[],
    tenants: readonly string[],
  ): Promise<{ apiKeyIds: ReadonlySet<string>; tenants: ReadonlySet<string> }>;
  /** Newest first; makes the first one. */
  signingKeys(): Promise<readonly SigningKey[]>;
}
