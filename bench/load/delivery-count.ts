/**
 * Counts what many subscriptions deliver, and how late it is. The positions that a reader of one stream gets must rise: with the
 * number of all deliveries that says that each reader got each event once and in order.
 */
import { nowUs } from "../measure/clock.ts";
import { Latencies, type LatencySummary } from "../measure/latencies.ts";
import { countEvents } from "../wire/count-events.ts";
import { readJsonOffset, readOffset } from "../wire/offset.ts";
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
  #disorder: Error | undefined;
  #onProgress = () => {};

  reset(): void {
    this.#latencies.reset();
    this.#resetUs = this.#lastUs = nowUs();
    this.#events = this.#messages = 0;
  }

  /** For one reader of one stream: messages of live events. Those that were planned before `reset` do not count. */
  live(): (message: Buffer) => void {
    const rises = this.#rising();
    const onEvent = (message: Buffer, start: number, end: number) => {
      rises(readOffset(message, start, end));
      this.#onEvent(message, start, end);
    };
    return (message) => {
      this.#noteMessage();
      countEvents(message, onEvent);
      this.#onProgress();
    };
  }

  /** For one reader of one stream: live events as texts, each in a message of its own. */
  liveText(): (bytes: Buffer, start: number, end: number) => void {
    const rises = this.#rising();
    return (bytes, start, end) => {
      this.#noteMessage();
      rises(readJsonOffset(bytes, start, end));
      this.#onEvent(bytes, start, end);
      this.#onProgress();
    };
  }

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
    if (this.#disorder !== undefined) throw this.#disorder;
    return {
      events: this.#events,
      messages: this.#messages,
      seconds: (this.#lastUs - this.#resetUs) / 1e6,
      latency: this.#latencies.summary(),
    };
  }

  #rising(): (offset: number) => void {
    let last = 0;
    return (offset) => {
      if (offset > 0 && offset <= last) this.#disorder ??= new Error(`event ${offset} came after ${last}`);
      if (offset > 0) last = offset;
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
