/** API keys: 256 random bits behind a recognizable prefix; stored and looked up by their SHA-256. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** So that secret scanners and people know one when they see it. */
export const apiKeyPrefix = "trib_";

export function createApiKeySecret(): string {
  return apiKeyPrefix + randomBytes(32).toString("base64url");
}

export function hashApiKey(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

/** Compares two secrets by their hashes, in constant time whatever the lengths of the secrets. */
export function isSameHash(a: Buffer, b: Buffer | undefined): boolean {
  return b !== undefined && timingSafeEqual(a, b);
}
