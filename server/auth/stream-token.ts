/**
 * Stream tokens: JWTs (HS256) for browsers and guests, limited to reading, to some subtrees and to an hour. The tenant's
 * keys never leave its servers. Signing keys live in the database, so every instance verifies what any of them made.
 */
import { decodeProtectedHeader, jwtVerify, SignJWT } from "jose";
import * as z from "zod";
import type { Principal } from "./principal.ts";
import type { SigningKeys } from "./signing-keys.ts";

const issuer = "tributary";
const signingKeyId = /^[0-9a-f]{16}$/;
/** The longest life of a token, s: what may be asked for, and what rounding to whole seconds adds. */
const longestLifeSeconds = 3600 + 1;
/** How far in the future a token may have been made, s: instances estimate the database's clock each on its own. */
const clockSkewSeconds = 60;

const claimsSchema = z.object({
  sub: z.string().min(1),
  key: z.string().optional(),
  wfs: z.array(z.string()).min(1),
  vars: z.boolean(),
  iat: z.int(),
  exp: z.int(),
});

export interface StreamTokenClaims {
  readonly tenant: string;
  readonly apiKeyId: string | undefined;
  readonly subtrees: readonly string[];
  readonly includeVariables: boolean;
}

export class StreamTokens {
  readonly #keys: Pick<SigningKeys, "newest" | "find">;

  constructor(keys: Pick<SigningKeys, "newest" | "find">) {
    this.#keys = keys;
  }

  async create(
    claims: StreamTokenClaims,
    ttlSeconds: number,
    nowMs: number,
  ): Promise<{ token: string; expiresMs: number }> {
    const newest = await this.#keys.newest();
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
    const kid = keyIdOf(token);
    const key = kid === undefined ? undefined : await this.#keys.find(kid);
    if (key === undefined) return undefined;
    const claims = await readClaims(token, key.secret, nowMs);
    if (claims === undefined) return undefined;
    // Nobody makes a token for longer. Should a key leak, it is worth nothing after it was replaced and deleted; nor are calls
    // that were opened with tokens of one's own making.
    if (claims.exp - claims.iat > longestLifeSeconds || claims.iat > nowMs / 1000 + clockSkewSeconds)
      return undefined;
    return {
      kind: "token",
      tenant: claims.sub,
      apiKeyId: claims.key,
      signingKeyId: key.signingKeyId,
      subtrees: claims.wfs,
      includeVariables: claims.vars,
      expiresMs: claims.exp * 1000,
    };
  }
}

/** Which key it says it was signed with; undefined: it is no token of ours, which needs no look at the keys. */
function keyIdOf(token: string): string | undefined {
  try {
    const { kid, alg } = decodeProtectedHeader(token);
    return alg === "HS256" && kid !== undefined && signingKeyId.test(kid) ? kid : undefined;
  } catch {
    return undefined; // not even the form of a token
  }
}

async function readClaims(token: string, secret: Uint8Array, nowMs: number) {
  try {
    const { payload } = await jwtVerify(token, secret, {
      issuer,
      algorithms: ["HS256"],
      typ: "JWT",
      currentDate: new Date(nowMs),
    });
    return claimsSchema.safeParse(payload).data;
  } catch {
    return undefined; // whatever is wrong with it (form, signature, expiry): it is no credential
  }
}
