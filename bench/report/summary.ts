/** Rounds to one row a contender: the median of each figure, and its range. */
import type { FigureName, Figures } from "./figures.ts";
import type { Result } from "./result.ts";

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Row {
  readonly point: string;
  readonly contender: string;
  readonly rounds: number;
  readonly figures: Readonly<Partial<Record<FigureName, Spread>>>;
  readonly errors: readonly string[];
}

/** Rows in the order of the first round. */
export function summarize(results: readonly Result[]): Row[] {
  const groups = new Map<string, Result[]>();
  for (const result of results) {
    const key = JSON.stringify([result.point, result.contender]);
    groups.set(key, [...(groups.get(key) ?? []), result]);
  }
  return [...groups.values()].map((group) => ({
    point: group[0]?.point ?? "",
    contender: group[0]?.contender ?? "",
    rounds: group.length,
    figures: toSpreads(group.map(({ figures }) => figures)),
    errors: group.flatMap(({ error }) => (error === undefined ? [] : [error])),
  }));
}

function toSpreads(rounds: readonly Figures[]): Row["figures"] {
  const spreads: Partial<Record<FigureName, Spread>> = {};
  for (const name of new Set(rounds.flatMap((figures) => Object.keys(figures) as FigureName[]))) {
    const values = rounds.flatMap((figures) => figures[name] ?? []).toSorted((a, b) => a - b);
    const middle = (values.length - 1) / 2;
    const at = (i: number) => values[i] ?? 0;
    spreads[name] = {
      median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
      min: at(0),
      max: at(values.length - 1),
    };
  }
  return spreads;
}
