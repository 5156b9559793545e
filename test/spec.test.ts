/** docs/spec.md names tests that exist, and the settings' page is in step with the settings. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { settingsTable } from "../scripts/settings-table.ts";

test("every test that docs/spec.md names exists", () => {
  const named = [...readFileSync("docs/spec.md", "utf8").matchAll(/^- `(.+?)` › (.+)$/gm)];
  expect(named.length).toBeGreaterThan(15);
  for (const [, file = "", name = ""] of named) {
    expect(readFileSync(file, "utf8").includes(name), `${file} › ${name}`).toBe(true);
  }
});

test("docs/operations/settings.md holds the table of the settings as they are", () => {
  // The formatter aligns the columns.
  const cells = (text: string) =>
    text
      .replaceAll(/ +/g, " ")
      .replaceAll(/-{3,}/g, "---")
      .replaceAll("|---|---|---|---|", "| --- | --- | --- | --- |");
  expect(cells(readFileSync("docs/operations/settings.md", "utf8"))).toContain(cells(settingsTable()));
});
