/**
 * Tests that take long and of which each run takes some, others each time; the full run takes all. Not by skipping: what is
 * not chosen is not there, so that a skip goes on meaning that something is missing.
 */
import { test } from "vitest";
import { someOf } from "./random.ts";

type Body = () => Promise<void> | void;

export interface Rotation {
  /** As `test`; `take` chooses. */
  add(name: string, body: Body): void;
  add(name: string, options: { readonly timeout: number }, body: Body): void;
  /** After the last one. */
  take(): void;
}

export function rotate(count: number): Rotation {
  const scenes: (() => void)[] = [];
  return {
    add(name: string, ...rest: [Body] | [{ readonly timeout: number }, Body]) {
      const [options, body] = rest.length === 1 ? [{}, rest[0]] : rest;
      scenes.push(() => test(name, options, body));
    },
    take() {
      for (const define of someOf(scenes, count)) define();
    },
  };
}
