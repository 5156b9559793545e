/** Lets something be said at most so often, and counts what was left out meanwhile: a bad hour must not fill a disk. */
export class Occasionally {
  readonly #most: number;
  readonly #perMs: number;
  readonly #now: () => number;
  #beganMs = Number.NEGATIVE_INFINITY;
  #said = 0;
  #leftOut = 0;

  /** `most` times in `perMs`. */
  constructor(most: number, perMs: number, now: () => number) {
    this.#most = most;
    this.#perMs = perMs;
    this.#now = now;
  }

  /** How many were left out since the last one that was said; undefined: leave this one out. */
  next(): number | undefined {
    const now = this.#now();
    if (now - this.#beganMs >= this.#perMs) {
      this.#beganMs = now;
      this.#said = 0;
    }
    if (this.#said >= this.#most) {
      this.#leftOut++;
      return undefined;
    }
    this.#said++;
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    return leftOut;
  }
}
