/** Latencies in bounded memory: a histogram with three significant figures, in microseconds, shown in milliseconds. */
import { createHistogram, type RecordableHistogram } from "node:perf_hooks";

export interface LatencySummary {
  readonly count: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Nothing here lasts longer, µs. */
const highest = 600e6;

export class Latencies {
  readonly #histogram: RecordableHistogram = createHistogram({ lowest: 1, highest, figures: 3 });

  record(us: number): void {
    this.#histogram.record(Math.min(highest, Math.max(1, Math.round(us))));
  }

  reset(): void {
    this.#histogram.reset();
  }

  summary(): LatencySummary {
    const { count } = this.#histogram;
    const ms = (percent: number) => (count === 0 ? 0 : this.#histogram.percentile(percent) / 1000);
    return { count, p50Ms: ms(50), p90Ms: ms(90), p99Ms: ms(99), maxMs: count === 0 ? 0 : ms(100) };
  }
}
