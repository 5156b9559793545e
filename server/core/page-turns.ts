/**
 * How many pages of history are read at once, for all readers of this instance: to read a page into events takes milliseconds
 * of the one thread that also serves who follows live. Between two pages the event loop has a turn; who waits longest is next.
 */
import { Fifo } from "./fifo.ts";
import type { EventStore, Page, PageRequest } from "./ports.ts";

export class PageTurns {
  readonly #store: Pick<EventStore, "readPage">;
  readonly #atOnce: number;
  #reading = 0;
  readonly #waiting = new Fifo<() => void>();

  constructor(store: Pick<EventStore, "readPage">, atOnce: number) {
    this.#store = store;
    this.#atOnce = atOnce;
  }

  async readPage(request: PageRequest): Promise<Page | undefined> {
    if (this.#reading < this.#atOnce) this.#reading++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await this.#store.readPage(request);
    } finally {
      setImmediate(this.#next);
    }
  }

  /** The place is handed on, so that nobody comes between. */
  #next = (): void => {
    const next = this.#waiting.shift();
    if (next === undefined) this.#reading--;
    else next();
  };
}
