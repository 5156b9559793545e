/** Generates the code anew beside the committed one and compares. */
import { spawnSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const fresh = mkdtempSync(join(tmpdir(), "tributary-gen-"));
try {
  const made = spawnSync("buf", ["generate", "--output", fresh], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(`buf generate failed:\n${made.stderr}`);
  const files = (folder: string) => globSync("**/*.ts", { cwd: folder }).toSorted();
  const [committed, wanted] = [files("gen"), files(join(fresh, "gen"))];
  const different = wanted.filter(
    (file) =>
      !committed.includes(file) ||
      readFileSync(join("gen", file), "utf8") !== readFileSync(join(fresh, "gen", file), "utf8"),
  );
  const superfluous = committed.filter((file) => !wanted.includes(file));
  for (const file of [...different, ...superfluous])
    console.error(`gen/${file} is not in step: npm run generate`);
  process.exitCode = different.length + superfluous.length > 0 ? 1 : 0;
} finally {
  rmSync(fresh, { recursive: true });
}
