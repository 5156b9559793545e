/**
 * What the windows of all streams may hold together. Each is bounded by itself, but one client can follow any number of
 * streams, so their sum is bounded too: who was written to longest ago gives up its oldest entries first. That costs readers
 * that have everything nothing, and others a page from the store.
 */
import { RecencyList } from "./recency-list.ts";

interface Holder {
  /** Gives up its oldest entry; the bytes that it had. 0: there is none to give up. */
  dropOldest(): number;
}

export class WindowMemory {
  readonly #bytes: number;
  /** In the order of the last entries that they took. */
  readonly #holders = new RecencyList<Holder>();
  #used = 0;

  constructor(bytes: number) {
    this.#bytes = bytes;
  }

  get used(): number {
    return this.#used;
  }

  /** It took an entry of so many bytes. */
  grow(holder: Holder, bytes: number): void {
    this.#used += bytes;
    this.#holders.use(holder);
    while (this.#used > this.#bytes) {
      const { oldest } = this.#holders;
      if (oldest === undefined || oldest === holder) return; // bounded by itself
      const dropped = oldest.dropOldest();
      this.#used -= dropped;
      if (dropped === 0) this.#holders.delete(oldest);
    }
  }

  /** It let go of so many bytes by itself. */
  shrink(bytes: number): void {
    this.#used -= bytes;
  }

  /** It is no more. */
  leave(holder: Holder, bytes: number): void {
    this.#used -= bytes;
    this.#holders.delete(holder);
  }
}
