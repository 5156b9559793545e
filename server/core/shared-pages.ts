/**
 * Readers of one stream that ask for the same page while it is under way get one answer of the store: a crowd that joins a long
 * stream at once reads and encodes each page once and not once a reader (messages are made once for each array of events).
 *
 * The answer is given to a few of them in each turn of the event loop: what each then writes is large, and all at once would hold
 * up those who follow live.
 *
 * A reader that comes second may get a page that ends earlier than it asked for, since what was known then was less; a page
 * says how far it went, and the reader goes on from there. Nothing is kept once a page has been given.
 */
import type { EventStore, Page, PageRequest } from "./ports.ts";

/** A page has up to 1 MiB. */
const atOnce = 2;

export class SharedPages {
  readonly #store: Pick<EventStore, "readPage">;
  readonly #underWay = new Map<string, Waiting[]>();

  constructor(store: Pick<EventStore, "readPage">) {
    this.#store = store;
  }

  /** A rising page of the stream, up to its tail as it is known. */
  read(request: PageRequest): Promise<Page | undefined> {
    const { scope, filter, cursor, limit } = request;
    const key = JSON.stringify([scope, filter.types, filter.tasks, cursor, limit]);
    return new Promise((resolve, reject) => {
      const waiting = this.#underWay.get(key);
      if (waiting !== undefined) {
        waiting.push({ resolve, reject });
        return;
      }
      const own: Waiting[] = [{ resolve, reject }];
      this.#underWay.set(key, own);
      const give = (to: (one: Waiting) => void) => {
        this.#underWay.delete(key);
        inTurn(own, to);
      };
      this.#store.readPage(request).then(
        (page) => give((one) => one.resolve(page)),
        (error: Error) => give((one) => one.reject(error)),
      );
    });
  }
}

interface Waiting {
  resolve(page: Page | undefined): void;
  reject(error: Error): void;
}

function inTurn(waiting: Waiting[], to: (one: Waiting) => void): void {
  for (const one of waiting.splice(0, atOnce)) to(one);
  if (waiting.length > 0) setImmediate(inTurn, waiting, to);
}
