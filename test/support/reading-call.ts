/**
 * A call that is read as fast as the server sends, until it ends or is stopped. What its messages mean, and which is the
 * last, is the subclass's; a call that ends OK without its last message has failed.
 */
import type { CallOptions } from "@connectrpc/connect";

export abstract class ReadingCall<Message> implements AsyncDisposable {
  /** When the call has ended; rejects with its error. */
  readonly finished: Promise<void>;
  #state: "reading" | "ended" | "failed" = "reading";
  readonly #abort = new AbortController();
  readonly #onNews: (() => void)[] = [];

  constructor(start: (options: CallOptions) => AsyncIterable<Message>) {
    this.finished = this.#read(start).then(
      () => {
        this.#state = "ended";
        this.#note();
      },
      (error) => {
        this.#state = "failed";
        this.#note();
        throw error;
      },
    );
    this.finished.catch(() => {}); // who is interested awaits it
  }

  /** Called with each message, never before the subclass is constructed. */
  protected abstract hear(message: Message): void;

  /** Whether the last message that may be has come. */
  protected abstract get hasLast(): boolean;

  get hasFinished(): boolean {
    return this.#state !== "reading";
  }

  async #read(start: (options: CallOptions) => AsyncIterable<Message>): Promise<void> {
    try {
      for await (const message of start({ signal: this.#abort.signal })) {
        this.hear(message);
        this.#note();
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    }
    if (!this.#abort.signal.aborted && !this.hasLast)
      throw new Error("the call ended OK without its last message");
  }

  /**
   * Waits until the assertions hold; fails at once when the call fails. Looks when something was heard, and now and then for
   * what is not heard: a thousand calls that all looked again and again would leave no time to hear anything.
   */
  async until(assertions: () => void, timeoutMs = 10_000): Promise<this> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      if (this.#state === "failed") await this.finished;
      try {
        assertions();
        return this;
      } catch (error) {
        if (Date.now() > deadline) throw error;
      }
      await this.#news(100);
      await new Promise((resolve) => setTimeout(resolve, 5)); // more may come with it
    }
  }

  /** Until something is heard, at most so long. */
  #news(limitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const limit = setTimeout(resolve, limitMs);
      this.#onNews.push(() => {
        clearTimeout(limit);
        resolve();
      });
    });
  }

  #note(): void {
    for (const wake of this.#onNews.splice(0)) wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.finished.catch(() => {});
  }
}
