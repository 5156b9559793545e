/**
 * Open reading calls of each tenant. Those of a tenant with a limit are counted in the database, so that all instances
 * together stay within it: this one asks before it opens more, says when it has fewer, and renews what it has, so that an
 * instance that dies frees what it had. One question at a time for each tenant, for all that wait: many calls that open at
 * once cost one round trip. What a tenant has open is never taken away.
 */
import type { Clock } from "../clock.ts";
import type { Counts } from "../counts.ts";
import { DomainError } from "../errors.ts";
import type { LimitsCache } from "./limits-cache.ts";

export interface ReaderStore {
  /** This instance has `held` and wants `wanted`; how many it may have, at least `held`. 0: nothing is noted. */
  take(tenant: string, held: number, wanted: number, most: number, leaseMs: number): Promise<number>;
}

export interface ReadersDeps {
  readonly store: ReaderStore;
  readonly limits: Pick<LimitsCache, "of">;
  readonly clock: Clock;
  readonly counts: Pick<Counts, "quotas">;
  readonly onFailure: (message: string, error: Error) => void;
}

const renewEveryMs = 10_000;
/** An instance that says nothing for so long has no calls any more, ms. */
const leaseMs = 30_000;
/** When a call that was refused may try again, ms. */
const retryAfterMs = 1000;

interface Asking {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

class Count {
  held = 0;
  /** What the database has of it; undefined: not known. */
  noted: number | undefined = 0;
  renew = false;
  asking: Asking[] = [];
  working: Promise<void> | undefined;
}

export class Readers {
  readonly #deps: ReadersDeps;
  readonly #counts = new Map<string, Count>();
  #cancelTimer = () => {};

  constructor(deps: ReadersDeps) {
    this.#deps = deps;
    this.#schedule();
  }

  /** Counts one more, or throws resource_exhausted. Returns how to give it back; twice is once. */
  async take(tenant: string): Promise<() => void> {
    const count = this.#counts.get(tenant) ?? new Count();
    this.#counts.set(tenant, count);
    await new Promise<void>((resolve, reject) => {
      count.asking.push({ resolve, reject });
      this.#work(tenant, count);
    });
    let given = false;
    return () => {
      if (given) return;
      given = true;
      count.held--;
      this.#work(tenant, count);
    };
  }

  /** When all calls have ended. */
  async close(): Promise<void> {
    this.#cancelTimer();
    await Promise.all([...this.#counts.values()].map(({ working }) => working));
  }

  #work(tenant: string, count: Count): void {
    count.working ??= this.#settle(tenant, count).finally(() => {
      count.working = undefined;
      if (count.asking.length > 0) this.#work(tenant, count);
      else if (count.held === 0 && count.noted === 0) this.#counts.delete(tenant);
    });
  }

  async #settle(tenant: string, count: Count): Promise<void> {
    const { limits, store } = this.#deps;
    while (count.asking.length > 0 || count.renew || (count.noted !== 0 && count.noted !== count.held)) {
      const { maxStreams: most } = await limits.of(tenant);
      const asking = count.asking.splice(0);
      const { held } = count;
      count.renew = false;
      if (most === 0 && count.noted === 0) {
        count.held += asking.length;
        for (const { resolve } of asking) resolve();
        continue;
      }
      try {
        // Without a limit any more: what was noted is taken away, and all pass.
        const granted =
          most === 0
            ? await store.take(tenant, 0, 0, 0, leaseMs)
            : await store.take(tenant, held, held + asking.length, most, leaseMs);
        count.noted = granted;
        const passed = most === 0 ? asking.length : granted - held;
        count.held += Math.min(passed, asking.length);
        for (const [i, { resolve, reject }] of asking.entries()) {
          if (i < passed) resolve();
          else {
            this.#deps.counts.quotas.max_streams++;
            reject(tooMany(most));
          }
        }
      } catch (error) {
        count.noted = undefined;
        for (const { reject } of asking) reject(error);
        if (asking.length === 0)
          this.#deps.onFailure(
            `the open streams of tenant ${tenant} could not be noted; it is tried again`,
            error as Error,
          );
        return;
      }
    }
  }

  #schedule(): void {
    this.#cancelTimer = this.#deps.clock.after(renewEveryMs, () => {
      for (const [tenant, count] of this.#counts) {
        count.renew = true;
        this.#work(tenant, count);
      }
      this.#schedule();
    });
  }
}

const tooMany = (most: number) =>
  new DomainError(
    "resource_exhausted",
    `the tenant has all ${most} reading calls open that its limits allow (max_streams, all servers together); end some, or try again later`,
    { retryAfterMs },
  );
