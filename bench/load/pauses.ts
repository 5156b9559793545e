/** The longest silence of each of many listeners, from `begin` on. What has not ended yet counts as well. */
export class Pauses {
  readonly #heardUs: number[];
  readonly #longestUs: number[];
  readonly #now: () => number;

  constructor(listeners: number, now: () => number) {
    this.#now = now;
    this.#heardUs = Array.from({ length: listeners }, now);
    this.#longestUs = Array.from({ length: listeners }, () => 0);
  }

  hear(listener: number): void {
    const now = this.#now();
    this.#longestUs[listener] = this.#with(listener, now);
    this.#heardUs[listener] = now;
  }

  /** All begin anew. */
  begin(): void {
    this.#heardUs.fill(this.#now());
    this.#longestUs.fill(0);
  }

  /** ms, rising. */
  longestMs(): number[] {
    const now = this.#now();
    return this.#longestUs.map((_, listener) => this.#with(listener, now) / 1000).toSorted((a, b) => a - b);
  }

  #with(listener: number, now: number): number {
    return Math.max(this.#longestUs[listener] ?? 0, now - (this.#heardUs[listener] ?? now));
  }
}
