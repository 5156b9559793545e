/**
 * Patterns of variables: RE2 expressions, matched against the whole text. RE2 has no backtracking, but the largest
 * expressions on the longest texts would still hold this process for seconds: an expression becomes up to 2,000 instructions,
 * each of which may look at each character. So the work of one call is bounded, and the caller is told.
 *
 * Compiled expressions are kept, and with them the states that the matcher has made of them, at most one a character and as
 * large as the expression. What is kept is bounded by that work.
 */
import { RE2JS } from "@bufbuild/re2";
import { LRUCache } from "lru-cache";

interface Compiled {
  readonly regex: RE2JS;
  readonly instructions: number;
  work: number;
}

/** Instructions that compiling one counts with, against matching them. */
const compileFactor = 100;
/** Work that is kept: a step is about one number in memory. */
const keptWork = 4 * 1024 * 1024;

export class Patterns {
  readonly #kept = new LRUCache<string, Compiled>({
    maxSize: keptWork,
    maxEntrySize: keptWork / 4,
    sizeCalculation: ({ instructions, work }) => instructions * compileFactor + work,
  });

  /** How many steps it costs to have compiled this; undefined: it is no RE2 expression. */
  compile(pattern: string): number | undefined {
    const compiled = this.#get(pattern);
    return compiled && compiled.instructions * compileFactor;
  }

  /** Steps to match so many characters at worst. The pattern must be one. */
  cost(pattern: string, characters: number): number {
    return (this.#get(pattern)?.instructions ?? 0) * characters;
  }

  matches(pattern: string, text: string): boolean {
    const compiled = this.#get(pattern);
    if (compiled === undefined) return false;
    compiled.work += compiled.instructions * text.length;
    this.#kept.set(pattern, compiled);
    return compiled.regex.testExact(text);
  }

  #get(pattern: string): Compiled | undefined {
    const kept = this.#kept.get(pattern);
    if (kept !== undefined) return kept;
    let regex: RE2JS;
    try {
      regex = RE2JS.compile(pattern);
    } catch {
      return undefined;
    }
    const compiled = { regex, instructions: regex.re2().prog.numInst(), work: 0 };
    this.#kept.set(pattern, compiled);
    return compiled;
  }
}
