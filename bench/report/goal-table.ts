/** The goals with what a run found, one line each: for the terminal, or as Markdown. */
import { createPaint } from "../../cli/output/paint.ts";
import { toTable } from "../../cli/output/table.ts";
import { type Goal, goals, isNamed, type Look } from "./goals.ts";
import type { Result } from "./result.ts";
import { summarize } from "./summary.ts";

interface Judged {
  readonly text: string;
  readonly wanted: string;
  readonly found: string;
  readonly verdict: "reached" | "not reached" | "not measured";
}

export function judge(results: readonly Result[]): Judged[] {
  const look = lookIn(results);
  return goals.map((goal) => {
    const found = goal.found(look);
    const verdict = found === undefined ? "not measured" : holds(goal, found) ? "reached" : "not reached";
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
      line([text, wanted, found, verdict === "not reached" ? "**not reached**" : verdict]),
    ),
    "",
  ].join("\n");
}

const lookIn = (results: readonly Result[]): Look => {
  const rows = new Map<string, ReturnType<typeof summarize>>();
  return (caseName, point, contender, figure) => {
    const known = rows.get(caseName) ?? summarize(results.filter((result) => result.case === caseName));
    rows.set(caseName, known);
    const row = known.findLast((each) => each.point.startsWith(point) && isNamed(each.contender, contender));
    return row?.figures[figure]?.median;
  };
};

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
