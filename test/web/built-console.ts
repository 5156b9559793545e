/** The console as `npm run build:web` makes it, from the sources as they are: built once in each of the tests' processes. */
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../..", import.meta.url));
let built: Promise<string> | undefined;

/** The folder. In a process of its own, since the tests' NODE_ENV would make it one for development. */
export function buildConsole(): Promise<string> {
  built ??= build();
  return built;
}

async function build(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tributary-console-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const vite = join(root, "node_modules/vite/bin/vite.js");
  const { NODE_ENV: _, ...env } = process.env;
  const args = ["build", "--configLoader", "native", "--outDir", folder, "--logLevel", "error"];
  await promisify(execFile)(process.execPath, [vite, ...args], { cwd: root, env });
  return folder;
}
