/**
 * A call that is read as fast as the server sends, until it ends or is stopped. What its messages mean, and which is the
 * last, is the subclass's; a call that ends OK without its last message has failed.
 */
import type { CallOptions } from "@connectrpc/connect";
import { until } from "./until.ts";

export abstract class ReadingCall<Message> implements AsyncDisposable {
  /** When the call has ended; rejects with its error. */
  readonly finished: Promise<void>;
  #state: "reading" | "ended" | "failed" = "reading";
  readonly #abort = new AbortController();

  constructor(start: (options: CallOptions) => AsyncIterable<Message>) {
    this.finished = this.#read(start).then(
      () => {
        this.#state = "ended";
      },
      (error) => {
        this.#state = "failed";
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
      for await (const message of start({ signal: this.#abort.signal })) this.hear(message);
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    }
    if (!this.#abort.signal.aborted && !this.hasLast)
      throw new Error("the call ended OK without its last message");
  }

  /** Waits until the assertions hold; fails at once when the call fails. */
  async until(assertions: () => void, timeoutMs?: number): Promise<this> {
    await until(() => {
      if (this.#state !== "failed") assertions();
    }, timeoutMs);
    if (this.#state === "failed") await this.finished;
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.finished.catch(() => {});
  }
}
