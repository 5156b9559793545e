/** One table a case: for the terminal, or as Markdown to be pasted. */
import { createPaint } from "../../cli/output/paint.ts";
import { toTable } from "../../cli/output/table.ts";
import type { Case } from "../cases/case.ts";
import { type FigureName, figures } from "./figures.ts";
import type { Result } from "./result.ts";
import { type Row, type Spread, summarize } from "./summary.ts";

/** `leftOut`: lines on contenders that could not run here. */
export function reportCase(
  one: Case,
  results: readonly Result[],
  markdown: boolean,
  leftOut: readonly string[],
): string {
  const rows = summarize(results);
  const columns = one.columns.filter((name) => rows.some((row) => row.figures[name] !== undefined));
  const rounds = Math.max(...rows.map((row) => row.rounds));
  const about = `${one.about}. ${rounds === 1 ? "One round." : `Medians of ${rounds} rounds (lowest..highest).`}`;
  const after = [
    ...ratiosOf(one, rows),
    ...rows.flatMap(({ point, contender, errors }) =>
      errors.map((error) => `failed: ${point}, ${contender}: ${error.split("\n")[0]}`),
    ),
    ...leftOut,
  ];
  const table = markdown ? toMarkdown(rows, columns) : toText(rows, columns);
  const title = markdown ? `### ${one.name}` : one.name;
  const notes = markdown ? after.map((line) => `- ${line}`) : after;
  return [title, about, "", table, ...(notes.length > 0 ? ["", ...notes] : []), ""].join("\n");
}

function toText(rows: readonly Row[], columns: readonly FigureName[]): string {
  return toTable(
    rows,
    [
      { title: "load", cell: (row) => row.point },
      { title: "contender", cell: (row) => row.contender },
      ...columns.map((name) => ({
        title: figures[name].heading,
        right: true as const,
        cell: (row: Row) => toCell(name, row.figures[name]),
      })),
    ],
    createPaint(false),
  );
}

function toMarkdown(rows: readonly Row[], columns: readonly FigureName[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(["load", "contender", ...columns.map((name) => figures[name].heading)]),
    line(["---", "---", ...columns.map(() => "---:")]),
    ...rows.map((row) =>
      line([row.point, row.contender, ...columns.map((name) => toCell(name, row.figures[name]))]),
    ),
  ].join("\n");
}

function toCell(name: FigureName, spread: Spread | undefined): string {
  if (spread === undefined) return "–";
  const { digits } = figures[name];
  const format = (value: number) =>
    value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const median = format(spread.median);
  if (spread.min === spread.max) return median;
  return `${median} (${format(spread.min)}..${format(spread.max)})`;
}

function ratiosOf({ ratios = [] }: Case, rows: readonly Row[]): string[] {
  return ratios.flatMap(({ of, to, figures: names }) =>
    [...new Set(rows.map(({ point }) => point))].flatMap((point) => {
      const find = (contender: string) =>
        rows.find((row) => row.point === point && row.contender === contender);
      const parts = names.flatMap((name) => {
        const a = find(of)?.figures[name]?.median;
        const b = find(to)?.figures[name]?.median;
        return a === undefined || b === undefined || b === 0
          ? []
          : [`${figures[name].heading} × ${(a / b).toFixed(2)}`];
      });
      return parts.length === 0 ? [] : [`${point}: ${of}, against ${to}: ${parts.join(", ")}`];
    }),
  );
}
