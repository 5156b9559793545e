/**
 * The limits of tenants, as this instance knows them: at most 5 s old while the database answers. A change made here counts at
 * once, one made elsewhere as soon as its news comes. While the database is away the last ones hold; of a tenant that was
 * never asked for, none: who writes then learns from the database anyway that it is away.
 */
import type { Clock } from "../clock.ts";
import type { Newsroom } from "../news.ts";
import { noLimits, type TenantLimits, type TenantStore } from "../tenants.ts";

export interface LimitsCacheDeps {
  readonly store: Pick<TenantStore, "limitsOf" | "limitsOfMany">;
  readonly clock: Clock;
  readonly news: Newsroom;
  readonly onFailure: (message: string, error: Error) => void;
}

/** All that are in use are read again so often, ms. */
const refreshMs = 4000;
/** Not asked for so long, ms: forgotten. */
const idleMs = 60_000;
/** Tenants kept. */
const mostTenants = 10_000;
/** A call waits so long for limits that are not known yet, ms. */
const loadMs = 1000;

interface Entry {
  limits: TenantLimits;
  usedMs: number;
}

export class LimitsCache {
  readonly #deps: LimitsCacheDeps;
  readonly #entries = new Map<string, Entry>();
  readonly #loads = new Map<string, Promise<TenantLimits>>();
  /** Who reads a tenant's limits now; what an older one brings is not taken. */
  readonly #readers = new Map<string, symbol>();
  #cancelTimer: (() => void) | undefined;
  #closed = false;

  constructor(deps: LimitsCacheDeps) {
    this.#deps = deps;
    deps.news.on("tenant_changed", ({ tenant }) => {
      if (this.#entries.has(tenant) || this.#loads.has(tenant)) this.#reload([tenant]);
    });
  }

  close(): void {
    this.#closed = true;
    this.#cancelTimer?.();
  }

  /** undefined: not known here yet. */
  known(tenant: string): TenantLimits | undefined {
    const entry = this.#entries.get(tenant);
    if (entry === undefined) return undefined;
    entry.usedMs = this.#deps.clock.now();
    return entry.limits;
  }

  async of(tenant: string): Promise<TenantLimits> {
    const known = this.known(tenant);
    if (known !== undefined) return known;
    let load = this.#loads.get(tenant);
    if (load === undefined) {
      load = this.#load(tenant).finally(() => this.#loads.delete(tenant));
      this.#loads.set(tenant, load);
    }
    return load;
  }

  /** They were changed in the database, by a call of this instance. */
  noteChanged(tenant: string, limits: TenantLimits): void {
    this.#readers.delete(tenant);
    this.#set(tenant, limits);
    this.#deps.news.tell("tenant_changed", { tenant });
  }

  /** Reads all anew: news may have been lost. */
  refresh(): void {
    this.#reload([...this.#entries.keys()]);
  }

  async #load(tenant: string): Promise<TenantLimits> {
    const late = Promise.withResolvers<undefined>();
    const cancel = this.#deps.clock.after(loadMs, () => late.resolve(undefined));
    try {
      await Promise.race([
        this.#read([tenant], () => this.#deps.store.limitsOf(tenant).then(one)),
        late.promise,
      ]);
    } catch (error) {
      this.#deps.onFailure(
        `the limits of tenant ${tenant} could not be read; none holds meanwhile`,
        error as Error,
      );
    } finally {
      cancel();
    }
    return this.#entries.get(tenant)?.limits ?? noLimits;

    function one(limits: TenantLimits | undefined): ReadonlyMap<string, TenantLimits> {
      return new Map(limits === undefined ? [] : [[tenant, limits]]);
    }
  }

  #reload(tenants: readonly string[]): void {
    if (tenants.length === 0) return;
    this.#read(tenants, () => this.#deps.store.limitsOfMany(tenants)).catch((error: Error) =>
      this.#deps.onFailure("the limits of tenants could not be read; the last ones hold", error),
    );
  }

  async #read(
    tenants: readonly string[],
    ask: () => Promise<ReadonlyMap<string, TenantLimits>>,
  ): Promise<void> {
    const reader = Symbol();
    for (const tenant of tenants) this.#readers.set(tenant, reader);
    try {
      const found = await ask();
      for (const tenant of tenants) {
        if (this.#readers.get(tenant) === reader) this.#set(tenant, found.get(tenant) ?? noLimits);
      }
    } finally {
      for (const tenant of tenants) if (this.#readers.get(tenant) === reader) this.#readers.delete(tenant);
    }
  }

  #set(tenant: string, limits: TenantLimits): void {
    if (this.#closed) return;
    const entry = this.#entries.get(tenant);
    if (entry !== undefined) {
      entry.limits = limits;
      return;
    }
    this.#entries.set(tenant, { limits, usedMs: this.#deps.clock.now() });
    if (this.#entries.size > mostTenants) this.#entries.delete(this.#entries.keys().next().value as string);
    this.#cancelTimer ??= this.#deps.clock.after(refreshMs, () => this.#look());
  }

  #look(): void {
    const now = this.#deps.clock.now();
    for (const [tenant, { usedMs }] of this.#entries)
      if (now - usedMs >= idleMs) this.#entries.delete(tenant);
    this.#cancelTimer =
      this.#entries.size === 0 ? undefined : this.#deps.clock.after(refreshMs, () => this.#look());
    this.refresh();
  }
}
