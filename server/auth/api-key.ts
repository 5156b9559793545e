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

/** Compares two secrets in constant time, whatever their lengths. */
export function isSameSecret(a: string, b: string): boolean {
  return timingSafeEqual(hashApiKey(a), hashApiKey(b));
}
