/** Every link between the pages, and from them into the project, leads somewhere, headings included. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { pages, readPage } from "./pages.ts";

/** As they are made from headings on the usual hosts. */
const anchorsOf = (page: string): string[] =>
  [...readPage(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );

test.each(pages)("%s", (page) => {
  const text = readPage(page).replaceAll(/^```.*?^```/gms, "");
  for (const [, target = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^https?:/.test(target)) continue;
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? page : join(dirname(page), path);
    expect(existsSync(file), `${page}: ${target}`).toBe(true);
    if (anchor !== undefined) expect(anchorsOf(file), `${page}: ${target}`).toContain(anchor);
  }
});

test("every page is in the index", () => {
  const index = readPage("docs/README.md");
  for (const page of pages) {
    if (!page.startsWith("docs/") || page === "docs/README.md") continue;
    const listed = index.includes(`(${page.slice("docs/".length)})`) || page.startsWith("docs/decisions/");
    expect(listed, page).toBe(true);
  }
});
