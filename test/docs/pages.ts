/** The documentation as the tests see it: its pages, and their fenced blocks with the line above each. */
import { globSync, readFileSync } from "node:fs";

export interface Block {
  readonly language: string;
  readonly text: string;
  /** The last line before the fence that is not empty. */
  readonly above: string;
}

export const pages: readonly string[] = ["README.md", ...globSync("docs/**/*.md")].toSorted();

export const readPage = (page: string): string => readFileSync(page, "utf8");

export function blocksOf(markdown: string): Block[] {
  return [...markdown.matchAll(/^([^\n]*)\n\n?```(\w*)\n(.*?)^```$/gms)].map(
    ([, above = "", language = "", text = ""]) => ({ language, text, above }),
  );
}

/** The texts of the blocks in one language, in their order. */
export const blocksIn = (page: string, language: string): string[] =>
  blocksOf(readPage(page))
    .filter((block) => block.language === language)
    .map(({ text }) => text);

/** The cells of every table row whose first cell is none of the header's. */
export function rowsOf(markdown: string): string[][] {
  return markdown
    .split("\n")
    .filter((line, at, lines) => line.startsWith("|") && !isRule(line) && !isRule(lines[at + 1] ?? ""))
    .map((line) =>
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    );
}

const isRule = (line: string) => /^\|[\s|:-]+\|$/.test(line);
