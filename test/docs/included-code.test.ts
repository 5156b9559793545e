/** No code in the docs drifts: each block is a copy of a file that another test runs. */
import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { includedIn, sourceOf } from "./included-code.ts";
import { blocksOf, pages, readPage } from "./pages.ts";

const all = pages.flatMap(includedIn);

test("every block that names a file holds what the file holds", () => {
  expect(all.length).toBeGreaterThan(15);
  for (const { page, file, part, text } of all) {
    expect(text, `${page}: ${file} ${part ?? ""}; copy anew: node test/docs/included-code.ts`).toBe(
      sourceOf(file, part),
    );
  }
});

test("the API guide has no code of its own", () => {
  for (const { above, language, text } of blocksOf(readPage("docs/api.md"))) {
    expect(above, `${language}: ${text.slice(0, 60)}`).toMatch(/^From \[/);
  }
});

test("every example is shown or named on a page", () => {
  const text = pages.map(readPage).join("\n");
  for (const file of readdirSync("examples")) expect(text).toContain(`examples/${file}`);
});
