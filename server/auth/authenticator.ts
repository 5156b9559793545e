/**
 * From a credential to a principal: the admin key, an API key, the development key, or a stream token. Keys are cached for
 * at most 5 s, so a revoked one is refused everywhere within that time; open calls are ended by `RevocationSweep`.
 */
import { LRUCache } from "lru-cache";
import type { Clock } from "../core/clock.ts";
import { DomainError } from "../core/errors.ts";
import { apiKeyPrefix, hashApiKey, isSameHash } from "./api-key.ts";
import type { CredentialStore, StoredKey } from "./credential-store.ts";
import { type Principal, Role } from "./principal.ts";
import type { StreamTokens } from "./stream-token.ts";

const keyCacheMs = 5000;

type Store = Pick<CredentialStore, "findKeyByHash" | "findRevoked">;

export interface AuthenticatorOptions {
  /** undefined: development mode. */
  readonly adminKey: string | undefined;
  /** In development mode: the key of the tenant `dev`. */
  readonly devKey: string | undefined;
}

export const devTenant = "dev";

export class Authenticator {
  readonly #store: Store;
  readonly #tokens: StreamTokens;
  readonly #clock: Clock;
  readonly #adminHash: Buffer | undefined;
  readonly #devHash: Buffer | undefined;
  /** By hash; however many calls ask for a key at once, the database is asked once. */
  readonly #keys: LRUCache<string, StoredKey, Buffer>;

  constructor(
    deps: {
      readonly store: Store;
      readonly tokens: StreamTokens;
      /** The database's, by which tokens expire. */
      readonly clock: Clock;
    },
    options: AuthenticatorOptions,
  ) {
    this.#store = deps.store;
    this.#tokens = deps.tokens;
    this.#clock = deps.clock;
    this.#adminHash = options.adminKey === undefined ? undefined : hashApiKey(options.adminKey);
    this.#devHash = options.devKey === undefined ? undefined : hashApiKey(options.devKey);
    this.#keys = new LRUCache<string, StoredKey, Buffer>({
      max: 10_000,
      ttl: keyCacheMs,
      fetchMethod: (_name, _stale, { context: hash }) => this.#store.findKeyByHash(hash),
    });
  }

  /** `authorization`: the header's value; `accessToken`: the query's, where a route takes it. */
  async authenticate(authorization: string | null, accessToken: string | null = null): Promise<Principal> {
    const secret = authorization === null ? accessToken : bearer(authorization);
    if (secret === null || secret === "") {
      throw unauthenticated(
        "no credential: send the header “Authorization: Bearer <API key or stream token>”",
      );
    }
    const hash = hashApiKey(secret);
    if (isSameHash(hash, this.#adminHash)) return { kind: "admin" };
    if (isSameHash(hash, this.#devHash)) {
      return {
        kind: "key",
        tenant: devTenant,
        apiKeyId: undefined,
        roles: [Role.READ, Role.PUBLISH, Role.MANAGE],
      };
    }
    const principal = secret.startsWith(apiKeyPrefix)
      ? await this.#findKey(hash)
      : await this.#verifyToken(secret);
    if (principal === undefined) {
      throw unauthenticated("the credential is not valid: unknown, revoked or expired; ask for a new one");
    }
    return principal;
  }

  /** Forgets a key at once on this instance. */
  forget(apiKeyId: string): void {
    for (const [hash, key] of this.#keys.entries()) if (key.apiKeyId === apiKeyId) this.#keys.delete(hash);
  }

  /** Forgets the keys of a tenant at once on this instance. */
  forgetTenant(tenant: string): void {
    for (const [hash, key] of this.#keys.entries()) if (key.tenant === tenant) this.#keys.delete(hash);
  }

  async #findKey(hash: Buffer): Promise<Principal | undefined> {
    const key = await this.#keys.fetch(hash.toString("base64"), { context: hash });
    return key === undefined ? undefined : { kind: "key", ...key };
  }

  /** A token ends with the key it was made with and with its tenant. */
  async #verifyToken(secret: string): Promise<Principal | undefined> {
    const token = await this.#tokens.verify(secret, this.#clock.now());
    if (token === undefined) return undefined;
    const keyIds = token.apiKeyId === undefined ? [] : [token.apiKeyId];
    const revoked = await this.#store.findRevoked(keyIds, [token.tenant]);
    return revoked.apiKeyIds.size + revoked.tenants.size > 0 ? undefined : token;
  }
}

function bearer(authorization: string): string {
  const match = /^Bearer +(\S+) *$/i.exec(authorization);
  if (match?.[1] === undefined) {
    throw unauthenticated("the header Authorization must have the form “Bearer <API key or stream token>”");
  }
  return match[1];
}

const unauthenticated = (message: string) => new DomainError("unauthenticated", message);
