/**
 * Puts the words of new observations into their index, beside the commits. Postgres collects them in a list, which every
 * recall reads to its end; so what is committed is found at once, and this only keeps the list short. A second after the
 * first new ones, one call at a time, none while nothing is observed. If it fails, it is tried with the next ones.
 */
import type { Queryable } from "../../db/pool.ts";

/** As many words as come meanwhile are put in together, which is cheaper than one by one. */
const everyMs = 1000;

export class WordIndex {
  readonly #db: Queryable;
  readonly #onError: (error: Error) => void;
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<unknown> = Promise.resolve();
  #noted = false;
  #closed = false;

  constructor(db: Queryable, onError: (error: Error) => void) {
    this.#db = db;
    this.#onError = onError;
  }

  /** Observations were committed. */
  note(): void {
    this.#noted = true;
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#work = this.#tidy();
    }, everyMs).unref();
  }

  async #tidy(): Promise<void> {
    this.#noted = false;
    try {
      await this.#db.query({ name: "index_words", text: "select observation_index_words()" });
    } catch (error) {
      this.#onError(new Error("new words could not be put into their index", { cause: error }));
    }
    this.#timer = undefined;
    if (this.#noted) this.note();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#work;
  }
}
