/** The goals with what a run found, one line each: for the terminal, or as Markdown. */
import { createPaint } from "../../cli/output/paint.ts";
import { toTable } from "../../cli/output/table.ts";
import { type Goal, goals, isNamed } from "./goals.ts";
import type { Result } from "./result.ts";
import { type Row, summarize } from "./summary.ts";

interface Judged {
  readonly text: string;
  readonly wanted: string;
  readonly found: string;
  /** Nothing is to be read from a run that did not deliver all: who drops or collects what it cannot send seems cheap. */
  readonly verdict: "reached" | "not reached" | "not measured" | "events were missing";
}

export function judge(results: readonly Result[]): Judged[] {
  const rowOf = rowsIn(results);
  return goals.map((goal) => {
    let missing = 0;
    const found = goal.found((caseName, point, contender, figure) => {
      const row = rowOf(caseName, point, contender);
      missing += row?.figures.missing?.max ?? 0;
      return row?.figures[figure]?.median;
    });
    const judged = found !== undefined && holds(goal, found) ? "reached" : "not reached";
    const verdict = found === undefined ? "not measured" : missing > 0 ? "events were missing" : judged;
    return { text: goal.text, wanted: toWanted(goal), found: toFound(goal, found), verdict };
  });
}

export function goalTable(results: readonly Result[], markdown: boolean): string {
  const judged = judge(results);
  if (!markdown) {
    const columns = [
      { title: "figure to reach", cell: ({ text }: Judged) => text },
      { title: "wanted", right: true as const, cell: ({ wanted }: Judged) => wanted },
      { title: "found", right: true as const, cell: ({ found }: Judged) => found },
      { title: "", cell: ({ verdict }: Judged) => verdict },
    ];
    return `goals\n\n${toTable(judged, columns, createPaint(false))}`;
  }
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(["figure to reach", "wanted", "found", ""]),
    line(["---", "---:", "---:", "---"]),
    ...judged.map(({ text, wanted, found, verdict }) =>
      line([text, wanted, found, verdict === "reached" ? verdict : `**${verdict}**`]),
    ),
    "",
  ].join("\n");
}

function rowsIn(results: readonly Result[]) {
  const rows = new Map<string, readonly Row[]>();
  return (caseName: string, point: string, contender: string | RegExp): Row | undefined => {
    const known = rows.get(caseName) ?? summarize(results.filter((result) => result.case === caseName));
    rows.set(caseName, known);
    return known.findLast((each) => each.point.startsWith(point) && isNamed(each.contender, contender));
  };
}

function holds({ wanted }: Goal, found: number): boolean {
  if ("atMost" in wanted) return found <= wanted.atMost;
  return "below" in wanted ? found < wanted.below : found >= wanted.atLeast;
}

const withUnit = ({ unit }: Goal, text: string) => (unit === "×" ? `× ${text}` : `${text} ${unit}`);

function toWanted(goal: Goal): string {
  const { wanted } = goal;
  const [sign, bound] =
    "atMost" in wanted
      ? ["≤", wanted.atMost]
      : "below" in wanted
        ? ["<", wanted.below]
        : ["≥", wanted.atLeast];
  return `${sign} ${withUnit(goal, bound.toLocaleString("en-US"))}`;
}

function toFound(goal: Goal, found: number | undefined): string {
  if (found === undefined) return "–";
  const digits = { minimumFractionDigits: goal.digits, maximumFractionDigits: goal.digits };
  return withUnit(goal, found.toLocaleString("en-US", digits));
}
