/** SECURITY.md rests on tests and pages that exist. */
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { readPage } from "./pages.ts";

const text = readPage("SECURITY.md");

test("every test that SECURITY.md names exists, and every kind of attacker has one and says what remains", () => {
  const parts = text.slice(text.indexOf("## Who might attack")).split(/^### /m).slice(1);
  expect(parts.length).toBeGreaterThan(9);
  for (const part of parts) {
    const [title = ""] = part.split("\n");
    const named = [...part.matchAll(/^- `(.+?)` › (.+)$/gm)];
    expect(named.length, title).toBeGreaterThan(0);
    expect(part, title).toContain("\nRemains: ");
    for (const [, file = "", name = ""] of named)
      expect(readFileSync(file, "utf8").includes(name), `${file} › ${name}`).toBe(true);
  }
});

test("every page that SECURITY.md links to exists", () => {
  const links = [...text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(([, target = ""]) => target);
  expect(links.length).toBeGreaterThan(7);
  for (const target of links) expect(existsSync(target), target).toBe(true);
});
