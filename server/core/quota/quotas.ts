/**
 * What a tenant may do on this instance: how fast it writes, by any call, and how many reading calls it has open. Who asks
 * before it acts is refused before anything of it was accepted. Numbers of sessions and of open workflows are decided in the
 * transactions that make them.
 */
import type { Clock } from "../clock.ts";
import type { Counts } from "../counts.ts";
import { DomainError } from "../errors.ts";
import type { TenantLimits } from "../tenants.ts";
import type { LimitsCache } from "./limits-cache.ts";
import { type Rate, Rates } from "./rates.ts";

export interface QuotasDeps {
  readonly limits: Pick<LimitsCache, "known" | "of">;
  readonly clock: Clock;
  readonly counts: Pick<Counts, "quotas">;
}

export class Quotas {
  readonly #limits: QuotasDeps["limits"];
  readonly #rates: Rates;
  readonly #counts: QuotasDeps["counts"];

  constructor({ limits, clock, counts }: QuotasDeps) {
    this.#limits = limits;
    this.#counts = counts;
    this.#rates = new Rates(clock);
  }

  limitsOf(tenant: string): Promise<TenantLimits> {
    return this.#limits.of(tenant);
  }

  /** Throws resource_exhausted if the tenant writes too fast; else this is counted. */
  async admit(tenant: string, entries: number, bytes: number): Promise<void> {
    const limits = this.#limits.known(tenant) ?? (await this.#limits.of(tenant));
    const retryAfterMs = this.#rates.take(tenant, toRate(limits), entries, bytes);
    if (retryAfterMs === 0) return;
    this.#count(tenant, toRate(limits), entries);
    throw new DomainError(
      "resource_exhausted",
      `${rateText(limits)}; found ${entries} more of ${bytes} bytes; try again after ${retryAfterMs} ms, or send less`,
      { retryAfterMs },
    );
  }

  /** Waits instead; false: the signal came first. */
  async admitInTurn(tenant: string, entries: number, bytes: number, signal: AbortSignal): Promise<boolean> {
    let last = this.#limits.known(tenant) ?? (await this.#limits.of(tenant));
    const rateOf = () => {
      last = this.#limits.known(tenant) ?? last;
      return toRate(last);
    };
    return this.#rates.takeInTurn(tenant, rateOf, entries, bytes, signal);
  }

  /**
   * How many of these entries of a session pass, by their sizes, and what to say if not all do. `last`: its tenant's limits as
   * the session knew them last, should they have been forgotten since.
   */
  admitSome(
    tenant: string,
    last: TenantLimits,
    sizes: readonly number[],
  ): { readonly passed: number; readonly text: string; readonly retryAfterMs: number } {
    const known = this.#limits.known(tenant);
    if (known === undefined) void this.#limits.of(tenant);
    const limits = known ?? last;
    const rate = toRate(limits);
    const passed = this.#rates.takeSome(tenant, rate, sizes);
    if (passed === sizes.length) return { passed, text: "", retryAfterMs: 0 };
    const bytes = sizes.slice(passed).reduce((sum, size) => sum + size, 0);
    this.#count(tenant, rate, sizes.length - passed);
    const retryAfterMs = Math.max(1, this.#rates.waitMs(tenant, rate, sizes.length - passed, bytes));
    return { passed, text: rateText(limits), retryAfterMs };
  }

  /** By the limit that refused: entries, if they alone would have been too many. */
  #count(tenant: string, rate: Rate, entries: number): void {
    const byEntries =
      rate.entriesPerSecond > 0 &&
      (rate.bytesPerSecond === 0 || this.#rates.waitMs(tenant, rate, entries, 0) > 0);
    this.#counts.quotas[byEntries ? "max_events_per_second" : "max_bytes_per_second"]++;
  }
}

const toRate = ({ maxEventsPerSecond, maxBytesPerSecond }: TenantLimits): Rate => ({
  entriesPerSecond: maxEventsPerSecond,
  bytesPerSecond: maxBytesPerSecond,
});

function rateText({ maxEventsPerSecond, maxBytesPerSecond }: TenantLimits): string {
  const parts = [
    maxEventsPerSecond > 0 ? [`${maxEventsPerSecond} entries (max_events_per_second)`] : [],
    maxBytesPerSecond > 0 ? [`${maxBytesPerSecond} bytes (max_bytes_per_second)`] : [],
  ].flat();
  return `over the tenant's limit of ${parts.join(" and ")} a second on this server`;
}
