/** The pictures of docs/benchmarks.md, from the lines of results: what a delivery costs, how late it is, and what growth costs. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Bar, type BarChart, toSvg } from "./bar-chart.ts";
import type { FigureName } from "./figures.ts";
import type { Result } from "./result.ts";
import { type Row, summarize } from "./summary.ts";

export const imageFolder = fileURLToPath(new URL("../../docs/images/", import.meta.url));

const digits = (n: number) => (value: number) =>
  value.toLocaleString("en-US", { minimumFractionDigits: n, maximumFractionDigits: n });

/** Charts that these results have figures for, by the name of their file. */
export function chartsOf(results: readonly Result[]): ReadonlyMap<string, BarChart> {
  const rowsOf = (name: string) => summarize(results.filter((result) => result.case === name));
  const fanOut = [
    ...rowsOf("fan-out").map((row) => ({ ...row, contender: `${row.contender}${overHttp2(row)}` })),
    ...rowsOf("fan-out http1"),
  ].filter(({ point }) => /^(1000 readers, 50|5000 readers, 10) /.test(point));
  const grown = [
    ...rowsOf("streams").map((row) => ({ ...row, point: `streams, ${row.point}` })),
    ...rowsOf("growth"),
  ];
  const charts: readonly (readonly [file: string, chart: BarChart])[] = [
    [
      "fan-out-cpu.svg",
      {
        title: "Fan-out: CPU of the server a delivery, µs",
        groups: toGroups(fanOut, "serverCpuUs"),
        scale: "linear",
        format: digits(1),
      },
    ],
    [
      "fan-out-latency.svg",
      {
        title: "Fan-out: latency p50 / p99, ms (logarithmic)",
        groups: toGroups(fanOut, "p50Ms", "p99Ms"),
        scale: "logarithmic",
        format: digits(1),
      },
    ],
    [
      "growth.svg",
      {
        title: "Growth: CPU of the server an event, µs",
        groups: toGroups(grown, "serverCpuUsPerEvent"),
        scale: "linear",
        format: digits(0),
      },
    ],
  ];
  return new Map(charts.filter(([, { groups }]) => groups.length > 0));
}

/** Returns the files that it wrote. */
export function writePlots(results: readonly Result[], folder = imageFolder): string[] {
  mkdirSync(folder, { recursive: true });
  return [...chartsOf(results)].map(([name, chart]) => {
    const file = join(folder, name);
    writeFileSync(file, toSvg(chart));
    return file;
  });
}

const overHttp2 = ({ contender }: Row) => (contender === "raw http2" ? "" : ", gRPC");

function toGroups(rows: readonly Row[], figure: FigureName, upTo?: FigureName): BarChart["groups"] {
  const points = [...new Set(rows.map(({ point }) => point))];
  return points.flatMap((point) => {
    const bars = rows.flatMap((row): Bar[] => {
      const value = row.figures[figure]?.median;
      if (row.point !== point || value === undefined) return [];
      const higher = upTo === undefined ? undefined : row.figures[upTo]?.median;
      const isOwn = !/^(stock|raw|better|socket)/.test(row.contender);
      return [{ label: row.contender, value, upTo: higher, isOwn }];
    });
    return bars.length === 0 ? [] : [{ title: point, bars }];
  });
}
