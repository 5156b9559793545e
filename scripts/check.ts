/**
 * `npm run check`: everything that CI checks beside the tests, each step by name with its time; all steps run, and the
 * ones that failed are named at the end.
 */
import { spawnSync } from "node:child_process";

/** The first landing holds the whole contract: whatever came later must be compatible with it. */
const first = spawnSync("git", ["rev-list", "--max-parents=0", "HEAD"], { encoding: "utf8" }).stdout.trim();
const base = `.git#ref=${first}`;

const steps: readonly (readonly [name: string, ...command: string[]])[] = [
  ["format and lint", "biome", "check", "--error-on-warnings", "."],
  ["types", "tsc", "--noEmit", "-p", "tsconfig.json"],
  ["types of the console", "tsc", "--noEmit", "-p", "web/tsconfig.json"],
  ["layers", "node", "scripts/check-layers.ts"],
  ["dead code", "knip"],
  ["proto lint", "buf", "lint"],
  ["proto format", "buf", "format", "--diff", "--exit-code"],
  ["proto stays compatible", "buf", "breaking", "--against", base],
  ["generated code in step", "node", "scripts/check-generated.ts"],
  ["migrations in step", "node", "scripts/check-migrations.ts"],
];

const failed: string[] = [];
for (const [name, command = "", ...args] of steps) {
  const began = performance.now();
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  console.log(`${status === 0 ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
  if (status === 0) continue;
  failed.push(name);
  console.log(`${stdout}${stderr}`);
}
if (failed.length > 0) console.log(`failed: ${failed.join(", ")}`);
process.exitCode = failed.length > 0 ? 1 : 0;
