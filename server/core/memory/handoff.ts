/** Hands items from one loop to another, one at a time: who gives waits until the last one was taken. */
import { Wakeup } from "../wakeup.ts";

export class Handoff<T> implements AsyncIterable<T> {
  readonly #given = new Wakeup();
  readonly #taken = new Wakeup();
  #item: { readonly value: T } | undefined;
  #ended = false;

  /** Resolves when there is room for the next one, or nobody takes any more. */
  async give(value: T): Promise<void> {
    while (this.#item !== undefined && !this.#ended) await this.#taken.wait();
    if (this.#ended) return;
    this.#item = { value };
    this.#given.ring();
  }

  /** No more comes; what was given is still taken. Safe twice. */
  end(): void {
    this.#ended = true;
    this.#given.ring();
    this.#taken.ring();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const item = this.#item;
      if (item !== undefined) {
        this.#item = undefined;
        this.#taken.ring();
        yield item.value;
      } else if (this.#ended) return;
      else await this.#given.wait();
    }
  }
}
