/**
 * A minimum interval between messages: slots in time, the first of them at once. A slot is reserved in one step and nobody
 * sleeps with something locked, so that any number of users may share one throttle: each gets a slot of its own.
 */
import type { Clock } from "./clock.ts";

export class Throttle {
  readonly #clock: Clock;
  readonly #intervalMs: number;
  /** When the next slot begins that nobody has. */
  #nextMs = Number.NEGATIVE_INFINITY;

  /** 0: every moment is a slot. */
  constructor(clock: Clock, intervalMs: number) {
    this.#clock = clock;
    this.#intervalMs = intervalMs;
  }

  /** How long until a slot is free; 0: one is. */
  get waitMs(): number {
    return Math.max(0, this.#nextMs - this.#clock.now());
  }

  /** Takes the slot of this moment; false: there is none, nothing was reserved. */
  shouldSend(): boolean {
    if (this.waitMs > 0) return false;
    this.sent();
    return true;
  }

  /** Reserves the next slot and waits for it; false: the signal came first. */
  async wait(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    const startMs = Math.max(this.#nextMs, this.#clock.now());
    this.#nextMs = startMs + this.#intervalMs;
    const delayMs = startMs - this.#clock.now();
    if (delayMs <= 0) return true;
    const came = await new Promise<boolean>((resolve) => {
      const onAbort = () => {
        cancel();
        resolve(false);
      };
      const cancel = this.#clock.after(delayMs, () => {
        signal.removeEventListener("abort", onAbort);
        resolve(true);
      });
      signal.addEventListener("abort", onAbort, { once: true });
    });
    // Given back if nobody has reserved one behind it; else it passes unused.
    if (!came && this.#nextMs === startMs + this.#intervalMs) this.#nextMs = startMs;
    return came;
  }

  /** Something was sent, whether or not there was a slot: the next one begins an interval from now. */
  sent(): void {
    this.#nextMs = Math.max(this.#nextMs, this.#clock.now() + this.#intervalMs);
  }
}
