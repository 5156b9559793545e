/** Rates of the last seconds, and for the chart the last five minutes: buckets of a second, of what this page itself received. */
export interface Second {
  /** Unix time, s. */
  readonly at: number;
  events: number;
  characters: number;
  /** From the commit to this page, ms; a sample of them. */
  readonly latencies: number[];
}

const kept = 300;
const mostSamples = 64;

export class Meter {
  readonly #seconds: Second[] = [];

  count(events: number, characters: number, nowMs: number): void {
    const second = this.#second(Math.floor(nowMs / 1000));
    second.events += events;
    second.characters += characters;
  }

  /** The clocks of two machines may differ: what would be negative counts as 0. */
  latency(ms: number, nowMs: number): void {
    const { latencies } = this.#second(Math.floor(nowMs / 1000));
    if (latencies.length < mostSamples) latencies.push(Math.max(0, ms));
  }

  /** A second, mean of the last three full ones. */
  rate(nowMs: number): number {
    const now = Math.floor(nowMs / 1000);
    const recent = this.#seconds.filter(({ at }) => at < now && at >= now - 3);
    return recent.reduce((sum, { events }) => sum + events, 0) / 3;
  }

  /** One for each second up to the last full one, also those without events. */
  series(nowMs: number): Second[] {
    const last = Math.floor(nowMs / 1000) - 1;
    const known = new Map(this.#seconds.map((second) => [second.at, second]));
    return Array.from({ length: kept }, (_, at) => {
      const second = last - kept + 1 + at;
      return known.get(second) ?? { at: second, events: 0, characters: 0, latencies: [] };
    });
  }

  #second(at: number): Second {
    let last = this.#seconds.at(-1);
    if (last === undefined || last.at !== at) {
      last = { at, events: 0, characters: 0, latencies: [] };
      this.#seconds.push(last);
      if (this.#seconds.length > kept) this.#seconds.shift();
    }
    return last;
  }
}

export function quantile(values: readonly number[], share: number): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** Of all that this page receives. */
export const pageMeter = new Meter();
