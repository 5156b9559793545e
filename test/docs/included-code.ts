/**
 * Code in the docs is a copy of a file that is checked and run: a fenced block right under a line like
 *
 *     From [examples/publish.ts](../examples/publish.ts), part `retry`:
 *
 * holds the file, or the part of it between `region retry` and `endregion`. A test compares them; after a change
 * `node test/docs/included-code.ts` copies anew.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, normalize } from "node:path";
import { pages, readPage } from "./pages.ts";

const included =
  /^(?<line>From \[[^\]\n]+\]\((?<link>[^)\n]+)\)(?:, part `(?<part>\w+)`)?:)\n\n```(?<language>\w+)\n(?<text>.*?)^```$/gms;

export interface Included {
  readonly page: string;
  readonly file: string;
  readonly part: string | undefined;
  readonly text: string;
}

export function includedIn(page: string): Included[] {
  return [...readPage(page).matchAll(included)].map(({ groups }) => ({
    page,
    file: normalize(`${dirname(page)}/${groups?.["link"]}`),
    part: groups?.["part"],
    text: groups?.["text"] ?? "",
  }));
}

/** The file, or a part of it without its indentation. Throws if there is no such part, or more than one. */
export function sourceOf(file: string, part: string | undefined): string {
  const source = readFileSync(file, "utf8");
  if (part === undefined) return source;
  const found = [
    ...source.matchAll(
      new RegExp(`^[ \\t]*(?://|#) region ${part}\\n(.*?)^[ \\t]*(?://|#) endregion$`, "gms"),
    ),
  ];
  if (found.length !== 1) throw new Error(`${file} has ${found.length} parts ${part}`);
  const lines = (found[0]?.[1] ?? "").split("\n");
  const indent = Math.min(...lines.filter((line) => line.trim() !== "").map((line) => line.search(/\S/)));
  return lines.map((line) => line.slice(indent)).join("\n");
}

if (import.meta.main) {
  for (const page of pages) {
    const before = readPage(page);
    const after = before.replaceAll(included, (...match) => {
      const { line, link, part, language } = match.at(-1) as Record<string, string>;
      return `${line}\n\n\`\`\`${language}\n${sourceOf(normalize(`${dirname(page)}/${link}`), part)}\`\`\``;
    });
    if (after !== before) writeFileSync(page, after);
    if (after !== before) console.log(`changed ${page}`);
  }
}
