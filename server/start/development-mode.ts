/** The tenant `dev` and its key, with which a laptop needs no set-up. */
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { apiKeyPrefix } from "../auth/api-key.ts";
import { devTenant } from "../auth/authenticator.ts";
import { type Config, devKeyFile } from "../config.ts";
import { noLimits, type TenantStore } from "../core/tenants.ts";

/** Makes the tenant `dev` and gives its key: the one that was set, or one that is kept in the data folder. */
export async function openDevelopmentMode(config: Config, tenants: TenantStore): Promise<string> {
  await tenants.createTenant({
    slug: devTenant,
    displayName: "Development",
    limits: noLimits,
    retentionMs: 0,
    retentionEvents: 0,
  });
  if (config.TRIBUTARY_DEV_KEY !== undefined) return config.TRIBUTARY_DEV_KEY;
  const fresh = `${apiKeyPrefix}dev_${randomBytes(16).toString("base64url")}`;
  if (config.DATABASE_URL !== undefined) return fresh;
  // Kept, so that a restart does not lock out the terminal beside it; the command line finds it there.
  const file = join(config.DATA_DIR, devKeyFile);
  try {
    await writeFile(file, `${fresh}\n`, { flag: "wx", mode: 0o600 });
    return fresh;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return (await readFile(file, "utf8")).trim();
  }
}
