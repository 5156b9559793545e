/** Counts what many subscriptions deliver, and how late it is. */
import { nowUs } from "../measure/clock.ts";
import { Latencies, type LatencySummary } from "../measure/latencies.ts";
import { countEvents } from "../wire/count-events.ts";
import { readStamp } from "../wire/stamp.ts";

export interface Delivered {
  readonly events: number;
  readonly messages: number;
  /** From `reset` to the last message. */
  readonly seconds: number;
  /** From the planned send to the arrival. */
  readonly latency: LatencySummary;
}

export class DeliveryCount {
  readonly #latencies = new Latencies();
  #resetUs = nowUs();
  #lastUs = this.#resetUs;
  #events = 0;
  #messages = 0;
  #onProgress = () => {};

  reset(): void {
    this.#latencies.reset();
    this.#resetUs = this.#lastUs = nowUs();
    this.#events = this.#messages = 0;
  }

  /** A message of live events: those that were planned before `reset` do not count. */
  readonly live = (message: Buffer): void => {
    this.#noteMessage();
    countEvents(message, this.#onEvent);
    this.#onProgress();
  };

  /** As `live`, of a Multiplex. */
  readonly labelled = (message: Buffer): void => {
    this.#noteMessage();
    countEvents(message, this.#onEvent, "labelled");
    this.#onProgress();
  };

  /** A message of stored events, whose times mean nothing. */
  readonly stored = (message: Buffer): void => {
    this.#noteMessage();
    this.#events += countEvents(message);
    this.#onProgress();
  };

  /** Waits until so many events have come, at most so long; the figures say how many did. */
  async finish(expected: number, limitMs: number): Promise<Delivered> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      this.#onProgress = () => {
        if (this.#events < expected) return;
        clearTimeout(timer);
        resolve();
      };
      this.#onProgress();
    });
    this.#onProgress = () => {};
    return {
      events: this.#events,
      messages: this.#messages,
      seconds: (this.#lastUs - this.#resetUs) / 1e6,
      latency: this.#latencies.summary(),
    };
  }

  #noteMessage(): void {
    this.#lastUs = nowUs();
    this.#messages += 1;
  }

  readonly #onEvent = (message: Buffer, start: number, end: number): void => {
    const stamp = readStamp(message, start, end);
    if (stamp === undefined || stamp < this.#resetUs) return;
    this.#latencies.record(this.#lastUs - stamp);
    this.#events += 1;
  };
}
