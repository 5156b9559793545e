/** What waits for a reader of the baselines: it takes all of it as one batch, as Tributary's readers do. No bound. */
const batchEntries = 1000;

export class Queue<T> {
  #waiting: T[] = [];
  #wake = () => {};
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#wake(), { once: true });
  }

  push(entries: readonly T[]): void {
    for (const entry of entries) this.#waiting.push(entry);
    this.#wake();
  }

  async take(): Promise<T[]> {
    while (this.#waiting.length === 0 && !this.#signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#waiting.splice(0, batchEntries);
  }
}
