/**
 * A tenant's rate on this instance: a bucket that holds one second's worth and fills all the time, shared by the tenant's
 * sessions. By hand, because it must take part of a batch and say when the rest may come, which limiters of whole calls
 * do not.
 */
import type { Clock } from "../clock.ts";

class Bucket {
  perSecond = 0;
  tokens = 0;
  filledMs = 0;
}

export class Rates {
  readonly #clock: Clock;
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Entries a second from now on; 0: no limit. */
  set(tenant: string, perSecond: number): void {
    if (perSecond === 0) {
      this.#buckets.delete(tenant);
      return;
    }
    let bucket = this.#buckets.get(tenant);
    if (bucket === undefined) {
      bucket = new Bucket();
      bucket.tokens = perSecond;
      bucket.filledMs = this.#clock.now();
      this.#buckets.set(tenant, bucket);
    }
    bucket.perSecond = perSecond;
  }

  /** How many of these entries may pass now; they are counted. */
  take(tenant: string, entries: number): number {
    const bucket = this.#fill(tenant);
    if (bucket === undefined) return entries;
    const taken = Math.min(entries, Math.floor(bucket.tokens));
    bucket.tokens -= taken;
    return taken;
  }

  /** When so many may pass, ms. */
  waitMs(tenant: string, entries: number): number {
    const bucket = this.#fill(tenant);
    if (bucket === undefined) return 0;
    const missing = Math.min(entries, bucket.perSecond) - bucket.tokens;
    return Math.max(1, Math.ceil((missing / bucket.perSecond) * 1000));
  }

  #fill(tenant: string): Bucket | undefined {
    const bucket = this.#buckets.get(tenant);
    if (bucket === undefined) return undefined;
    const now = this.#clock.now();
    bucket.tokens = Math.min(
      bucket.perSecond,
      bucket.tokens + ((now - bucket.filledMs) / 1000) * bucket.perSecond,
    );
    bucket.filledMs = now;
    return bucket;
  }
}
