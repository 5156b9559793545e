/** Aligned columns. */
import type { Paint } from "./paint.ts";
import { padEnd, padStart, widthOf } from "./width.ts";

export interface Column<T> {
  readonly title: string;
  readonly right?: true;
  readonly cell: (row: T) => string;
}

export function toTable<T>(rows: readonly T[], columns: readonly Column<T>[], paint: Paint): string {
  const cells = rows.map((row) => columns.map(({ cell }) => cell(row)));
  const widths = columns.map(({ title }, at) =>
    Math.max(title.length, ...cells.map((line) => widthOf(line[at] ?? ""))),
  );
  const toLine = (line: readonly string[]) =>
    columns
      .map(({ right }, at) => (right ? padStart : padEnd)(line[at] ?? "", widths[at] ?? 0))
      .join("  ")
      .trimEnd();
  return [paint.dim(toLine(columns.map(({ title }) => title))), ...cells.map(toLine)].join("\n");
}
