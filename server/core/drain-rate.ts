/**
 * How fast the appender stores entries, as a moving average over about five seconds of work; from it the hint when to try
 * again after "full". No timer: it is updated at each commit.
 */
const halfLifeMs = 3500;

export class DrainRate {
  #perMs = 0;
  #lastMs: number | undefined;

  /** `entries` were settled, at `now`. */
  note(entries: number, now: number): void {
    const elapsed = Math.max(1, now - (this.#lastMs ?? now - 1));
    this.#lastMs = now;
    const weight = 1 - 0.5 ** (elapsed / halfLifeMs);
    this.#perMs += (entries / elapsed - this.#perMs) * Math.max(weight, 0.001);
  }

  /** Time until `entries` will have been stored, ms: 50 to 5,000. */
  hintMs(entries: number): number {
    if (this.#perMs <= 0) return 1000;
    return Math.round(Math.min(5000, Math.max(50, entries / this.#perMs)));
  }
}
