/** Would drizzle-kit make another migration from the schema? Then one was forgotten. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join, relative } from "node:path";

// Inside the project: drizzle-kit takes relative folders only.
const copy = mkdtempSync(".migrations-check-");
try {
  cpSync("db/migrations", copy, { recursive: true });
  const before = readdirSync(copy).length;
  const out = relative(".", copy);
  const made = spawnSync(
    "drizzle-kit",
    ["generate", "--dialect", "postgresql", "--schema", join("db", "schema.ts"), "--out", out],
    { encoding: "utf8" },
  );
  if (made.status !== 0) throw new Error(`drizzle-kit failed:\n${made.stdout}${made.stderr}`);
  if (readdirSync(copy).length !== before) {
    console.error("db/schema.ts and db/migrations differ: npx drizzle-kit generate --name <what-changed>");
    process.exitCode = 1;
  }
} finally {
  rmSync(copy, { recursive: true });
}
