/** Throughput and latency of the last five minutes. Canvases say nothing to screen readers, so each has its figures as text. */
import { type ReactNode, useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useNow } from "../ui/clock.ts";
import { formatRate, formatTime } from "../ui/format.ts";
import { pageMeter, quantile } from "../ui/meter.ts";
import { useScheme } from "../ui/theme.ts";
import type { Instance } from "./instance.ts";

interface Line {
  readonly label: string;
  readonly colour: string;
}

export function Charts({ instance }: { readonly instance: Instance }): ReactNode {
  const now = useNow();
  // Canvases know no style sheets: for other colours they are made anew.
  const scheme = useScheme();
  const seconds = pageMeter.series(now);
  const times = seconds.map(({ at }) => at);
  const sampled = (pick: "published" | "delivered") => {
    const byTime = new Map(instance.samples.map((sample) => [Math.floor(sample.atMs / 1000), sample[pick]]));
    // An answer every two seconds stands for both.
    return times.map((at) => byTime.get(at) ?? byTime.get(at + 1) ?? null);
  };
  const here = seconds.map(({ events }) => events);
  const latency = (share: number) => seconds.map(({ latencies }) => quantile(latencies, share) ?? null);
  const [half, most] = [latency(0.5), latency(0.95)];
  const lastOf = (values: readonly (number | null)[]) => values.findLast((value) => value !== null);
  const ms = (value: number | null | undefined) =>
    value == null ? "no events yet" : `${Math.round(value)} ms`;
  const stored = sampled("published");
  return (
    <div className="charts">
      <Chart
        key={`rates ${scheme}`}
        title="Events a second"
        summary={`stored ${formatRate(lastOf(stored) ?? 0)}, received by this page ${formatRate(here.at(-1) ?? 0)}`}
        lines={[
          { label: "stored", colour: "--chart-1" },
          { label: "delivered to all readers", colour: "--chart-2" },
          { label: "received by this page", colour: "--chart-3" },
        ]}
        data={[times, stored, sampled("delivered"), here]}
      />
      <Chart
        key={`latency ${scheme}`}
        title="From the commit to this page, ms"
        summary={`half within ${ms(lastOf(half))}, 95 % within ${ms(lastOf(most))}`}
        lines={[
          { label: "half within", colour: "--chart-3" },
          { label: "95 % within", colour: "--chart-4" },
        ]}
        data={[times, half, most]}
      />
    </div>
  );
}

const height = 180;

function Chart({
  title,
  summary,
  lines,
  data,
}: {
  readonly title: string;
  readonly summary: string;
  readonly lines: readonly Line[];
  readonly data: uPlot.AlignedData;
}): ReactNode {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const first = useRef({ lines, data });
  useEffect(() => {
    const { current } = place;
    if (current === null) return;
    const made = new uPlot(optionsOf(first.current.lines, current.clientWidth), first.current.data, current);
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: current.clientWidth, height }));
    observer.observe(current);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, []);
  useEffect(() => plot.current?.setData(data), [data]);
  return (
    <figure>
      <figcaption>
        <b>{title}</b> <span>{summary}</span>
      </figcaption>
      <div ref={place} className="canvas" aria-hidden="true" />
      <ul className="legend">
        {lines.map(({ label, colour }) => (
          <li key={label}>
            <span aria-hidden="true" className="mark" style={{ background: `var(${colour})` }} /> {label}
          </li>
        ))}
      </ul>
    </figure>
  );
}

function optionsOf(lines: readonly Line[], width: number): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: colour("--chart-text"),
    grid: { stroke: colour("--chart-grid"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui",
  };
  return {
    width,
    height,
    legend: { show: false },
    cursor: { show: false },
    axes: [
      { ...axis, space: 90, values: (_, ticks) => ticks.map((at) => formatTime(at * 1000)) },
      { ...axis, size: 44 },
    ],
    scales: { y: { range: (_, __, max) => [0, Math.max(10, max * 1.1)] } },
    series: [
      {},
      ...lines.map(({ label, colour: name }) => ({
        label,
        stroke: colour(name),
        width: 1.5,
        spanGaps: true,
        points: { show: false },
      })),
    ],
  };
}
