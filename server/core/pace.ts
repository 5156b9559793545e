/**
 * When a reader must say something though nothing comes: a heartbeat after an interval without any message, an end after a
 * longer one without events. It waits with one timer, and one that is early enough stays, so that a busy reader sets none.
 */
import type { Clock } from "./clock.ts";
import { limits } from "./limits.ts";
import type { Wakeup } from "./wakeup.ts";

/** An EventSource comes back by itself after an idle timeout: not at once, ms. */
export const afterIdleMs = 1000;
/** While the database is away, a reader that needs it asks again after so long, ms. */
export const storeRetryMs = 500;

export interface PaceOptions {
  /** 0: the default. */
  readonly heartbeatIntervalMs: number;
  /** 0: never. Reset by events. */
  readonly idleTimeoutMs: number;
}

export class Pace {
  readonly #clock: Clock;
  readonly #wakeup: Wakeup;
  readonly #heartbeatIntervalMs: number;
  readonly #idleTimeoutMs: number;
  /** When the last message, and when the last events, were sent. */
  #sentMs: number;
  #eventsSentMs: number;
  #timer: { readonly dueMs: number; readonly cancel: () => void } | undefined;

  constructor(clock: Clock, wakeup: Wakeup, { heartbeatIntervalMs, idleTimeoutMs }: PaceOptions) {
    this.#clock = clock;
    this.#wakeup = wakeup;
    this.#heartbeatIntervalMs = heartbeatIntervalMs || limits.heartbeatMs.default;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#sentMs = this.#eventsSentMs = clock.now();
  }

  /** Events are sent, or as good as that: all silence begins anew. */
  noteEvents(): void {
    this.#sentMs = this.#eventsSentMs = this.#clock.now();
  }

  /** Is a heartbeat due? If so it counts as sent. */
  takeBeat(): boolean {
    const now = this.#clock.now();
    if (now - this.#sentMs < this.#heartbeatIntervalMs) return false;
    this.#sentMs = now;
    return true;
  }

  get isIdle(): boolean {
    return this.#idleTimeoutMs > 0 && this.#clock.now() - this.#eventsSentMs >= this.#idleTimeoutMs;
  }

  /**
   * Until the bell rings, a heartbeat is due, or `atMostMs` from now. `mayIdle` false: something is pending, so that the
   * idle timeout does not count.
   */
  async wait(atMostMs = Number.POSITIVE_INFINITY, mayIdle = true): Promise<void> {
    const now = this.#clock.now();
    let dueMs = Math.min(this.#sentMs + this.#heartbeatIntervalMs, now + atMostMs);
    if (this.#idleTimeoutMs > 0 && mayIdle) dueMs = Math.min(dueMs, this.#eventsSentMs + this.#idleTimeoutMs);
    if (this.#timer === undefined || this.#timer.dueMs > dueMs) {
      this.#timer?.cancel();
      const cancel = this.#clock.after(Math.max(1, dueMs - now), () => {
        this.#timer = undefined;
        this.#wakeup.ring();
      });
      this.#timer = { dueMs, cancel };
    }
    await this.#wakeup.wait();
  }

  /** Safe twice. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
