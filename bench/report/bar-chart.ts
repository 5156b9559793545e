/** Horizontal bars in groups, as SVG text: readable in a light and in a dark page, without a script, and with its figures written. */
export interface Bar {
  readonly label: string;
  readonly value: number;
  /** Drawn lighter behind `value`, and written beside it: a higher figure of the same thing. */
  readonly upTo?: number | undefined;
  /** Drawn in the stronger colour. */
  readonly isOwn: boolean;
}

export interface BarChart {
  readonly title: string;
  readonly groups: readonly { readonly title: string; readonly bars: readonly Bar[] }[];
  readonly scale: "linear" | "logarithmic";
  format(value: number): string;
}

const width = 760;
const left = 260;
const right = 150;
const row = 22;
const head = 34;
const groupHead = 30;
const colours = { own: "#1f6feb", ownUpTo: "#a5c8ff", other: "#6e7781", otherUpTo: "#cfd6dd" };

export function toSvg({ title, groups, scale, format }: BarChart): string {
  const values = groups.flatMap(({ bars }) => bars.flatMap(({ value, upTo }) => [value, upTo ?? value]));
  const most = Math.max(...values, 0);
  const least = Math.min(...values.filter((value) => value > 0), most);
  const room = width - left - right;
  const lengthOf = (value: number) => {
    if (value <= 0 || most <= 0) return 0;
    if (scale === "linear") return (value / most) * room;
    // A decade below the least, so that this one is still seen.
    return (Math.log10((value * 10) / least) / Math.log10((most * 10) / least)) * room;
  };
  const parts: string[] = [];
  let y = head;
  for (const group of groups) {
    y += groupHead;
    parts.push(text(12, y - 9, group.title, 'font-weight="600"'));
    for (const { label, value, upTo, isOwn } of group.bars) {
      const middle = y + row / 2 + 4;
      const end = Math.max(lengthOf(value), lengthOf(upTo ?? value));
      if (upTo !== undefined) {
        parts.push(bar(y, lengthOf(upTo), isOwn ? colours.ownUpTo : colours.otherUpTo));
      }
      parts.push(bar(y, lengthOf(value), isOwn ? colours.own : colours.other));
      parts.push(text(left - 8, middle, label, 'text-anchor="end"'));
      const figures = upTo === undefined ? format(value) : `${format(value)} / ${format(upTo)}`;
      parts.push(text(left + end + 6, middle, figures, ""));
      y += row;
    }
  }
  const height = y + 12;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" font-family="system-ui, sans-serif" font-size="13">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(12, 24, title, 'font-size="15" font-weight="600"'),
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

const bar = (y: number, length: number, colour: string) =>
  `<rect x="${left}" y="${y + 3}" width="${length.toFixed(1)}" height="${row - 6}" fill="${colour}"/>`;

const text = (x: number, y: number, what: string, more: string) =>
  `<text x="${Math.round(x)}" y="${Math.round(y)}" fill="#1f2328"${more === "" ? "" : ` ${more}`}>${escaped(what)}</text>`;

const escaped = (raw: string) => raw.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
