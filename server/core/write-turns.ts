/**
 * Whose page of history is written next. To write a page (up to 1 MiB) takes the one thread a millisecond; a crowd that
 * catches up, of whom many have room at once, would write dozens of them in one turn of the event loop, while commits and those who
 * follow live wait. So one reader writes in each turn, in the order of asking, and everything else has its turn between two.
 *
 * Those who follow live come first: for each write to one of them history owes a rest. It takes it after a page, no longer than the turn
 * of that page took. So beside a thousand readers who get fifty events a second every other turn is free of it, and nearly none beside one.
 */
import type { Clock } from "./clock.ts";
import { Fifo } from "./fifo.ts";

/** How long history rests for each write to who follows live: the two or three times that it takes. */
const restMsOfEach = 0.02;

/** So much rest is owed at most, and so taken at once. */
const longestRestMs = 50;

interface Waiting {
  readonly signal: AbortSignal;
  readonly given: () => void;
}

export class WriteTurns {
  readonly #clock: Clock;
  readonly #waiting = new Fifo<Waiting>();
  #isDue = false;
  #beganMs = 0;
  #owedMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Somebody is written to live. */
  noteLive(): void {
    this.#owedMs = Math.min(this.#owedMs + restMsOfEach, longestRestMs);
  }

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
      if (next.signal.aborted) continue;
      this.#beganMs = this.#clock.now();
      setImmediate(this.#written);
      return;
    }
    this.#isDue = false;
  };

  readonly #written = (): void => {
    const restMs = Math.floor(Math.min(this.#clock.now() - this.#beganMs, this.#owedMs));
    if (restMs < 1) {
      this.#next();
      return;
    }
    this.#owedMs -= restMs;
    this.#clock.after(restMs, this.#next);
  };
}
