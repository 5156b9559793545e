/**
 * The database's clock, as far as this instance can tell without asking each time, and whether the database answers. One
 * tiny query every ten seconds, every second while it fails, measures how far the two clocks are apart; a slow answer says
 * little about that and is left out.
 */
import type { Clock } from "../clock.ts";

export interface DatabaseWatchDeps {
  readonly clock: Clock;
  /** ms by the database's clock. Throws if it does not answer. */
  readonly readNow: () => Promise<number>;
  /** Called after each try. */
  readonly onTried: () => void;
}

const everyMs = { well: 10_000, away: 1000 };
/** Answers that took longer say nothing about the clock, ms. */
const slowMs = 500;

export class DatabaseWatch {
  readonly #deps: DatabaseWatchDeps;
  #offsetMs: number | undefined;
  #cancel = () => {};
  #stopped = false;
  #trying: Promise<void> = Promise.resolve();
  /** Did it answer the last time? */
  answers = true;

  constructor(deps: DatabaseWatchDeps) {
    this.#deps = deps;
  }

  /** ms by the database's clock, a whole number. */
  now(): number {
    return Math.round(this.#deps.clock.now() + (this.#offsetMs ?? 0));
  }

  /** Resolves after the first try. */
  async start(): Promise<void> {
    this.#trying = this.#try();
    await this.#trying;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#trying;
  }

  async #try(): Promise<void> {
    const { clock, readNow, onTried } = this.#deps;
    const askedMs = clock.now();
    try {
      const nowMs = await readNow();
      const tookMs = clock.now() - askedMs;
      if (tookMs <= slowMs || this.#offsetMs === undefined) this.#offsetMs = nowMs - (askedMs + tookMs / 2);
      this.answers = true;
    } catch {
      this.answers = false; // that is what is to be known; the health says it
    }
    if (this.#stopped) return;
    onTried();
    this.#cancel = clock.after(this.answers ? everyMs.well : everyMs.away, () => {
      this.#trying = this.#try();
    });
  }
}
