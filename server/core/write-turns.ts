/**
 * Whose page of history is written next. To write a page (up to 1 MiB) takes the one thread a millisecond; a crowd that
 * catches up, of whom many have room at once, would write dozens of them in one turn of the event loop, while commits and those who
 * follow live wait. So one reader writes in each turn, in the order of asking, and everything else has its turn between two.
 */
import { Fifo } from "./fifo.ts";

interface Waiting {
  readonly signal: AbortSignal;
  readonly given: () => void;
}

export class WriteTurns {
  readonly #waiting = new Fifo<Waiting>();
  #isDue = false;

  /**
   * Never in the turn of the event loop in which it is asked for: what was asked of others before leaves first. At once when the
   * signal is aborted.
   */
  take(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const given = () => {
        signal.removeEventListener("abort", given);
        resolve();
      };
      signal.addEventListener("abort", given);
      this.#waiting.push({ signal, given });
      if (this.#isDue) return;
      this.#isDue = true;
      setImmediate(this.#next);
    });
  }

  /** Who has left does not write: that takes no turn. */
  readonly #next = (): void => {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      next.given();
      if (!next.signal.aborted) break;
    }
    this.#isDue = this.#waiting.length > 0;
    if (this.#isDue) setImmediate(this.#next);
  };
}
