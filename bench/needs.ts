/**
 * What some contenders need and the product does not: the packages of bench/package.json and the program redis-server. A
 * contender whose need is not met is left out by name, with the reason and the command; nothing else fails for it. The packages
 * are loaded by name at run time, so that types, lint and tests do without them.
 */
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";

type PackageName = "better-sse" | "socket.io";

const folder = new URL("./node_modules/", import.meta.url);

/** Why a contender cannot run; undefined: it can. */
export const missingPackage = (name: PackageName): string | undefined =>
  existsSync(new URL(`${name}/package.json`, folder))
    ? undefined
    : `the package ${name} is not installed: npm ci --prefix bench`;

export async function loadPackage<T>(name: PackageName): Promise<T> {
  const loaded: T = await import(name);
  return loaded;
}

/** Debian puts servers where the PATH of users does not look. */
export const redisServer: string | undefined = [
  ...(process.env["PATH"] ?? "").split(delimiter),
  "/usr/bin",
  "/usr/sbin",
  "/usr/local/bin",
]
  .filter((path) => path !== "")
  .map((path) => join(path, "redis-server"))
  .find(isExecutable);

export const missingRedis: string | undefined =
  redisServer === undefined ? "no redis-server here: apt-get install redis-server" : undefined;

/** What is compared with, in which version: of the packages those that bench/package.json names. */
export function versionsOfContenders(): Readonly<Record<string, string>> {
  const { dependencies } = JSON.parse(readFileSync(new URL("./package.json", import.meta.url), "utf8"));
  return dependencies;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
