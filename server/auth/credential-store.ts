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

export interface NewSigningKey {
  readonly signingKeyId: string;
  readonly createdMs: number;
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
  /**
   * Makes a key that is newer than all; `retireOlder`: the others are gone with the same commit. undefined: there are `most`
   * keys already, and nothing was changed. Those who rotate at once do so one after the other.
   */
  rotateSigningKey(retireOlder: boolean, most: number): Promise<NewSigningKey | undefined>;
  /** Deletes the keys that a newer one replaced longer ago than this, by the database's clock. */
  deleteReplacedSigningKeys(replacedForMs: number): Promise<void>;
}
