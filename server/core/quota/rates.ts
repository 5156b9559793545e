/**
 * How fast a tenant writes on this instance: one bucket for its entries and one for their bytes, shared by all its ways of
 * writing. Each holds one second's worth and fills all the time. By hand, because it must take part of a batch, say when the
 * rest may come, and let calls wait in turn, which limiters of whole calls do not.
 *
 * A call passes while there is anything left, and may take more than that: the next ones wait until the debt is paid. So a
 * call of 1,000 entries passes at a limit of 100 a second, and no size is shut out. Those that wait go first come, first
 * served; others that would not wait pass one at a time between them. A full bucket is as good as none, so it is dropped.
 */
import type { Clock } from "../clock.ts";
import { Wakeup } from "../wakeup.ts";

/** 0: no limit. */
export interface Rate {
  readonly entriesPerSecond: number;
  readonly bytesPerSecond: number;
}

interface Bucket {
  entries: number;
  bytes: number;
  filledMs: number;
  readonly waiting: Wakeup[];
  /** Somebody passed while others waited: now it is their turn. */
  oweTurn: boolean;
}

/** Buckets that are kept; tenants beyond that begin anew with a second's worth. */
const mostBuckets = 10_000;
/** A call that waits looks so often whether its tenant has other limits by now, ms. */
const lookMs = 1000;

export class Rates {
  readonly #clock: Clock;
  /** Longest unused first. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes all of it, or answers when to come back, ms. */
  take(tenant: string, rate: Rate, entries: number, bytes: number): number {
    const bucket = this.#fill(tenant, rate);
    if (bucket === undefined) return 0;
    if (!mayPass(bucket)) return Math.max(1, wait(bucket, rate, entries, bytes));
    this.#charge(bucket, entries, bytes);
    return 0;
  }

  /** How many of these entries, by their sizes, may pass now; they are counted. */
  takeSome(tenant: string, rate: Rate, sizes: readonly number[]): number {
    const bucket = this.#fill(tenant, rate);
    if (bucket === undefined) return sizes.length;
    if (!mayPass(bucket)) return 0;
    let bytes = 0;
    let taken = 0;
    for (const size of sizes) {
      if (taken + 1 > bucket.entries || bytes >= bucket.bytes) break;
      taken++;
      bytes += size;
    }
    this.#charge(bucket, taken, bytes);
    return taken;
  }

  /** When so much may pass, ms. */
  waitMs(tenant: string, rate: Rate, entries: number, bytes: number): number {
    const bucket = this.#fill(tenant, rate);
    return bucket === undefined ? 0 : wait(bucket, rate, entries, bytes);
  }

  /** Takes all of it when its turn has come; false: the signal came first. `rateOf` is asked anew while it waits. */
  async takeInTurn(
    tenant: string,
    rateOf: () => Rate,
    entries: number,
    bytes: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    const first = this.#fill(tenant, rateOf());
    if (first === undefined) return true;
    const bell = new Wakeup();
    const ring = () => bell.ring();
    const { waiting } = first;
    waiting.push(bell);
    signal.addEventListener("abort", ring, { once: true });
    try {
      while (!signal.aborted) {
        const rate = rateOf();
        const bucket = this.#fill(tenant, rate);
        if (bucket === undefined) return true;
        let cancel = () => {};
        if (waiting[0] === bell) {
          const ms = wait(bucket, rate, entries, bytes);
          if (ms === 0) {
            bucket.oweTurn = false;
            bucket.entries -= entries;
            bucket.bytes -= bytes;
            return true;
          }
          cancel = this.#clock.after(Math.min(ms, lookMs), ring);
        }
        await bell.wait();
        cancel();
      }
      return false;
    } finally {
      signal.removeEventListener("abort", ring);
      waiting.splice(waiting.indexOf(bell), 1);
      if (waiting.length === 0) first.oweTurn = false;
      waiting[0]?.ring();
    }
  }

  #charge(bucket: Bucket, entries: number, bytes: number): void {
    bucket.entries -= entries;
    bucket.bytes -= bytes;
    bucket.oweTurn = bucket.waiting.length > 0;
  }

  /** undefined: no limit. */
  #fill(tenant: string, rate: Rate): Bucket | undefined {
    const found = this.#buckets.get(tenant);
    this.#buckets.delete(tenant);
    if (rate.entriesPerSecond === 0 && rate.bytesPerSecond === 0) {
      for (const bell of found?.waiting ?? []) bell.ring();
      return undefined;
    }
    const now = this.#clock.now();
    const bucket = found ?? { entries: 0, bytes: 0, filledMs: now - 1000, waiting: [], oweTurn: false };
    const seconds = (now - bucket.filledMs) / 1000;
    bucket.entries = filled(bucket.entries, rate.entriesPerSecond, seconds);
    bucket.bytes = filled(bucket.bytes, rate.bytesPerSecond, seconds);
    bucket.filledMs = now;
    this.#buckets.set(tenant, bucket);
    if (found === undefined) this.#tidy(now);
    return bucket;
  }

  /** With each new bucket two old ones are looked at, so those of idle tenants go without anybody looking for them. */
  #tidy(now: number): void {
    let left = 2;
    for (const [tenant, { entries, bytes, filledMs, waiting }] of this.#buckets) {
      if (left-- === 0) return;
      if (waiting.length > 0) continue;
      // Nobody asked for a second, and nothing is owed: it is full.
      const isFull = now - filledMs >= 1000 && entries >= 0 && bytes >= 0;
      if (isFull || this.#buckets.size > mostBuckets) this.#buckets.delete(tenant);
    }
  }
}

/** An unlimited one is always full, so that a limit that comes later begins so. */
const filled = (tokens: number, perSecond: number, seconds: number): number =>
  perSecond === 0 ? Number.POSITIVE_INFINITY : Math.min(perSecond, tokens + seconds * perSecond);

const mayPass = ({ entries, bytes, oweTurn }: Bucket): boolean => !oweTurn && entries >= 1 && bytes > 0;

/** Until there is so much, or a second's worth, ms; 0: now. */
function wait(bucket: Bucket, rate: Rate, entries: number, bytes: number): number {
  const ms = (tokens: number, wanted: number, perSecond: number) =>
    perSecond === 0 ? 0 : (Math.min(Math.max(wanted, 1), perSecond) - tokens) / perSecond;
  const seconds = Math.max(
    ms(bucket.entries, entries, rate.entriesPerSecond),
    ms(bucket.bytes, bytes, rate.bytesPerSecond),
  );
  return Math.max(0, Math.ceil(seconds * 1000));
}
