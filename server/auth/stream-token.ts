/**
 * Stream tokens: JWTs (HS256) for browsers and guests, limited to reading, to some subtrees and to an hour. The tenant's
 * keys never leave its servers. Signing keys live in the database, so every instance verifies what any of them made.
 */
import { jwtVerify, SignJWT } from "jose";
import { LRUCache } from "lru-cache";
import type { CredentialStore, SigningKey } from "./credential-store.ts";
import type { Principal } from "./principal.ts";

const issuer = "tributary";
/** How long signing keys are kept before they are read again, ms. */
const keysCacheMs = 5000;

export interface StreamTokenClaims {
  readonly tenant: string;
  readonly apiKeyId: string | undefined;
  readonly subtrees: readonly string[];
  readonly includeVariables: boolean;
}

export class StreamTokens {
  readonly #store: Pick<CredentialStore, "signingKeys">;
  readonly #keys = new LRUCache<"all", readonly SigningKey[]>({ max: 1, ttl: keysCacheMs });

  constructor(store: Pick<CredentialStore, "signingKeys">) {
    this.#store = store;
  }

  async create(
    claims: StreamTokenClaims,
    ttlSeconds: number,
    nowMs: number,
  ): Promise<{ token: string; expiresMs: number }> {
    const [newest] = await this.#signingKeys();
    if (newest === undefined) throw new Error("there is no signing key");
    // JWTs count whole seconds: rounded up, so that a token is good for as long as was asked.
    const expires = Math.ceil(nowMs / 1000) + ttlSeconds;
    const token = await new SignJWT({
      wfs: claims.subtrees,
      vars: claims.includeVariables,
      ...(claims.apiKeyId === undefined ? {} : { key: claims.apiKeyId }),
    })
      .setProtectedHeader({ alg: "HS256", typ: "JWT", kid: newest.signingKeyId })
      .setIssuer(issuer)
      .setSubject(claims.tenant)
      .setIssuedAt(Math.floor(nowMs / 1000))
      .setExpirationTime(expires)
      .sign(newest.secret);
    return { token, expiresMs: expires * 1000 };
  }

  /** undefined: not a valid token, or one that has expired. */
  async verify(token: string, nowMs: number): Promise<Extract<Principal, { kind: "token" }> | undefined> {
    const keys = await this.#signingKeys();
    try {
      const { payload } = await jwtVerify(
        token,
        (header) => {
          const key = keys.find((candidate) => candidate.signingKeyId === header.kid);
          if (key === undefined) throw new Error("unknown signing key");
          return key.secret;
        },
        {
          issuer,
          algorithms: ["HS256"],
          currentDate: new Date(nowMs),
          requiredClaims: ["sub", "exp", "wfs"],
        },
      );
      return {
        kind: "token",
        tenant: payload.sub as string,
        apiKeyId: payload["key"] as string | undefined,
        subtrees: payload["wfs"] as string[],
        includeVariables: payload["vars"] === true,
        expiresMs: (payload.exp as number) * 1000,
      };
    } catch {
      // Whatever is wrong with it (form, signature, key, expiry): it is no credential.
      return undefined;
    }
  }

  async #signingKeys(): Promise<readonly SigningKey[]> {
    const cached = this.#keys.get("all");
    if (cached !== undefined) return cached;
    const keys = await this.#store.signingKeys();
    this.#keys.set("all", keys);
    return keys;
  }
}
