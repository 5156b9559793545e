/** What a client says on a call that it drives by hand: waits for the next message until the client half-closes. */
export class RequestQueue<T> implements AsyncIterable<T> {
  readonly #waiting: T[] = [];
  #wake = () => {};
  #isClosed = false;

  send(...requests: readonly T[]): void {
    this.#waiting.push(...requests);
    this.#wake();
  }

  /** Half-closes the call, after what was sent. */
  close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next !== undefined) yield next;
      else if (this.#isClosed) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}
