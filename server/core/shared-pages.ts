/**
 * Readers of one stream that ask for the same page get one answer of the store: a crowd that joins a long stream at once reads
 * and encodes each page once and not once a reader (messages are made once for each array of events).
 *
 * They share it while it is under way, and after that as long as one of them still has it, at most a second: a crowd moves on
 * reader by reader, as each has room, and the last comes for a page when the first has long had it. Nothing is kept for this alone.
 *
 * A reader that comes second while a page is under way may get one that ends earlier than it asked for, since what was known then
 * was less; a page says how far it went, and the reader goes on from there. Who comes later gets only one that would be no longer
 * if it were read again.
 */
import type { Clock } from "./clock.ts";
import type { EventStore, Page, PageRequest } from "./ports.ts";

/** Longer, and what retention has trimmed meanwhile would still be given. */
const sharedMs = 1000;
/** Pages that are remembered at most: a crowd is spread over two or three. */
const remembered = 32;

interface Recent {
  readonly page: WeakRef<Page>;
  readonly upTo: number;
  readonly readMs: number;
}

export class SharedPages {
  readonly #store: Pick<EventStore, "readPage">;
  readonly #clock: Pick<Clock, "now">;
  readonly #underWay = new Map<string, Promise<Page | undefined>>();
  /** Oldest first. */
  readonly #recent = new Map<string, Recent>();

  constructor(store: Pick<EventStore, "readPage">, clock: Pick<Clock, "now">) {
    this.#store = store;
    this.#clock = clock;
  }

  /** A rising page of the stream, up to its tail as it is known. */
  read(request: PageRequest): Promise<Page | undefined> {
    const { scope, filter, cursor, limit } = request;
    const key = JSON.stringify([scope, filter.types, filter.tasks, cursor, limit]);
    const recent = this.#recall(key, request.upTo);
    if (recent !== undefined) return Promise.resolve(recent);
    let page = this.#underWay.get(key);
    if (page === undefined) {
      page = this.#read(key, request).finally(() => this.#underWay.delete(key));
      this.#underWay.set(key, page);
    }
    return page;
  }

  async #read(key: string, request: PageRequest): Promise<Page | undefined> {
    const page = await this.#store.readPage(request);
    if (page === undefined) return undefined;
    this.#recent.delete(key);
    this.#recent.set(key, {
      page: new WeakRef(page),
      upTo: request.upTo,
      readMs: this.#clock.now(),
    });
    for (const oldest of this.#recent.keys()) {
      if (this.#recent.size <= remembered) break;
      this.#recent.delete(oldest);
    }
    return page;
  }

  #recall(key: string, upTo: number): Page | undefined {
    const recent = this.#recent.get(key);
    if (recent === undefined) return undefined;
    const page = recent.page.deref();
    if (page === undefined || this.#clock.now() - recent.readMs > sharedMs) {
      this.#recent.delete(key);
      return undefined;
    }
    // It is full, or there was no more to ask for.
    return page.scannedTo < recent.upTo || upTo <= recent.upTo ? page : undefined;
  }
}
