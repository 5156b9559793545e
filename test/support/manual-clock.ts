/** Time that a test turns by hand. */
import type { Clock } from "../../server/core/clock.ts";

export class ManualClock implements Clock {
  #now = 1_000_000;
  readonly #timers = new Set<{ readonly dueMs: number; readonly callback: () => void }>();

  readonly now = (): number => this.#now;
  readonly wallNow = this.now;

  after(delayMs: number, callback: () => void): () => void {
    const timer = { dueMs: this.#now + delayMs, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Timers that are set. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Goes on at once, calling what is due; what that sets off has not run yet. */
  move(ms: number): void {
    this.#now += ms;
    for (const timer of [...this.#timers].toSorted((a, b) => a.dueMs - b.dueMs)) {
      if (timer.dueMs <= this.#now && this.#timers.delete(timer)) timer.callback();
    }
  }

  /** Goes on, calling each timer at its time; what that sets off has run when this resolves. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#now + ms;
    await settled();
    for (;;) {
      const [next] = [...this.#timers].toSorted((a, b) => a.dueMs - b.dueMs);
      if (next === undefined || next.dueMs > endMs) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.dueMs);
      next.callback();
      await settled();
    }
    this.#now = endMs;
    await settled();
  }
}

/** When nothing is left to do without time or input from outside. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
