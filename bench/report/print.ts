/** What an invocation tells in the end: a table for each case, the goals if they are asked for, and the pictures. */
import { relative } from "node:path";
import type { Case, Size } from "../cases/case.ts";
import { cases } from "../cases/cases.ts";
import { describe } from "../environment.ts";
import { leftOut } from "../plan.ts";
import { goalTable } from "./goal-table.ts";
import { writePlots } from "./plots.ts";
import type { Result } from "./result.ts";
import { reportCase } from "./tables.ts";

export interface PrintOptions {
  readonly markdown: boolean;
  readonly goals: boolean;
  readonly plots: boolean;
  /** Of what was measured just now: contenders that could not run are named. */
  readonly size?: Size | undefined;
  readonly note: (line: string) => void;
}

export function printReport(
  results: readonly Result[],
  { markdown, goals, plots, size, note }: PrintOptions,
): void {
  const last = results.at(-1);
  if (last !== undefined) console.log(`${describe(last.environment)}, ${last.date.slice(0, 10)}\n`);
  if (goals) console.log(goalTable(results, markdown));
  for (const one of measuredOf(results)) {
    const own = results.filter((result) => result.case === one.name);
    console.log(reportCase(one, own, markdown, size === undefined ? [] : leftOut(one, size)));
  }
  if (plots) for (const file of writePlots(results)) note(`written: ${relative(process.cwd(), file)}`);
}

const measuredOf = (results: readonly Result[]): Case[] =>
  cases.filter(({ name }) => results.some((result) => result.case === name));
