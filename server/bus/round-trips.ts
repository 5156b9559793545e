/**
 * Round trips on one connection: a server answers a ping after everything that came before it, so one that began later
 * confirms whatever was sent. At most one is under way; all who wait meanwhile share the next, so a thousand new
 * subscriptions cost two.
 *
 * It also tells what a connection holds: bytes that no round trip has confirmed yet, which is all that the client, the
 * kernel and the server may have buffered.
 */
import type { Clock } from "../core/clock.ts";

/** Sent bytes after which a round trip is made without anybody waiting for it. */
const probeBytes = 64 * 1024;

type Waiter = (confirmed: boolean) => void;

export class RoundTrips {
  readonly #flush: () => Promise<void>;
  readonly #clock: Clock;
  #flight:
    | { readonly startedMs: number; readonly bytes: number; readonly waiters: readonly Waiter[] }
    | undefined;
  #waiters: Waiter[] = [];
  /** Sent since the flight began. */
  #bytes = 0;
  #ended = false;

  constructor(flush: () => Promise<void>, clock: Clock) {
    this.#flush = flush;
    this.#clock = clock;
  }

  get unconfirmedBytes(): number {
    return this.#bytes + (this.#flight?.bytes ?? 0);
  }

  /** For how long the one under way has not been answered, ms. */
  get openMs(): number {
    return this.#flight === undefined ? 0 : this.#clock.now() - this.#flight.startedMs;
  }

  sent(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes >= probeBytes) this.#start();
  }

  /** Has everything that was sent so far arrived? false: the connection ended first. */
  confirmed(): Promise<boolean> {
    if (this.#ended) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#waiters.push(resolve);
      this.#start();
    });
  }

  /** The connection is gone: nobody will answer. */
  end(): void {
    this.#ended = true;
    for (const waiter of [...(this.#flight?.waiters ?? []), ...this.#waiters]) waiter(false);
    this.#flight = undefined;
    this.#waiters = [];
    this.#bytes = 0;
  }

  #start(): void {
    if (this.#flight !== undefined || this.#ended) return;
    const flight = { startedMs: this.#clock.now(), bytes: this.#bytes, waiters: this.#waiters };
    this.#flight = flight;
    this.#waiters = [];
    this.#bytes = 0;
    this.#flush().then(
      () => this.#landed(flight),
      () => {}, // the connection ends, and who owns it says so
    );
  }

  #landed(flight: { readonly waiters: readonly Waiter[] }): void {
    if (this.#flight !== flight) return;
    this.#flight = undefined;
    for (const waiter of flight.waiters) waiter(true);
    if (this.#waiters.length > 0 || this.#bytes >= probeBytes) this.#start();
  }
}
