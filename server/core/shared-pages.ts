/**
 * Readers of one stream that ask for the same page while it is under way get one answer of the store: a crowd that joins a long
 * stream at once reads and encodes each page once and not once a reader (messages are made once for each array of events).
 *
 * A reader that comes second may get a page that ends earlier than it asked for, since what was known then was less; a page
 * says how far it went, and the reader goes on from there. Nothing is kept once a page has come.
 */
import type { EventStore, Page, PageRequest } from "./ports.ts";

export class SharedPages {
  readonly #store: Pick<EventStore, "readPage">;
  readonly #underWay = new Map<string, Promise<Page | undefined>>();

  constructor(store: Pick<EventStore, "readPage">) {
    this.#store = store;
  }

  /** A rising page of the stream, up to its tail as it is known. */
  read(request: PageRequest): Promise<Page | undefined> {
    const { scope, filter, cursor, limit } = request;
    const key = JSON.stringify([scope, filter.types, filter.tasks, cursor, limit]);
    const known = this.#underWay.get(key);
    if (known !== undefined) return known;
    const page = this.#store.readPage(request).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, page);
    return page;
  }
}
