/**
 * The tenants whose registry is watched on this instance. Each is listened to on the bus once, however many watch it, and
 * let go with its last watcher. Listening is confirmed before the first look at the database, so nothing falls between.
 */
import { type Bus, StoreError } from "../ports.ts";
import { type ChangesDeps, TenantChanges } from "./changes.ts";

export interface WatchesDeps extends Omit<ChangesDeps, "onLooked"> {
  readonly bus: Pick<Bus, "signal" | "onSignal">;
  readonly onFailure: (message: string, error: Error) => void;
}

interface Entry {
  readonly live: Promise<TenantChanges>;
  /** It, once it is live. */
  opened(): TenantChanges | undefined;
  users: number;
  release(): void;
}

const topicOf = (tenant: string) => `workflows.${tenant}`;

export class Watches {
  readonly #deps: WatchesDeps;
  readonly #tenants = new Map<string, Entry>();
  readonly #ending = new Set<Promise<void>>();
  /** Those whose last look at the database failed. */
  readonly #failing = new Set<string>();

  constructor(deps: WatchesDeps) {
    this.#deps = deps;
  }

  /** Tenants that are watched. */
  get size(): number {
    return this.#tenants.size;
  }

  /** Calls that watch. */
  get watchers(): number {
    let count = 0;
    for (const { users } of this.#tenants.values()) count += users;
    return count;
  }

  /** A workflow of the tenant was changed: whoever watches, on whatever instance, looks now and not in a second. */
  note(tenant: string): void {
    this.#deps.bus.signal(topicOf(tenant), null);
  }

  /** All look now and not in a second: signals were lost. */
  checkNow(): void {
    for (const entry of this.#tenants.values()) entry.opened()?.ring();
  }

  /** Each call needs one `release`. Throws when the database cannot be read. */
  async acquire(tenant: string): Promise<TenantChanges> {
    const entry = this.#tenants.get(tenant) ?? this.#open(tenant);
    this.#tenants.set(tenant, entry);
    entry.users++;
    try {
      return await entry.live;
    } catch (error) {
      this.#leave(tenant, entry);
      throw error;
    }
  }

  release(tenant: string, live: TenantChanges): void {
    const entry = this.#tenants.get(tenant);
    if (entry?.opened() === live) this.#leave(tenant, entry);
  }

  /** Waits for queries under way: they use the store, which is closed later. */
  async close(): Promise<void> {
    for (const [tenant, entry] of this.#tenants) {
      this.#tenants.delete(tenant);
      entry.release();
    }
    await Promise.all(this.#ending);
  }

  #open(tenant: string): Entry {
    let unlisten: (() => void) | undefined;
    let opened: TenantChanges | undefined;
    let released = false;
    const open = async () => {
      let early = false;
      unlisten = await this.#deps.bus.onSignal(topicOf(tenant), () => {
        if (opened === undefined) early = true;
        else opened.ring();
      });
      try {
        const { now } = await this.#deps.changes.readNewest({
          tenant,
          rootsOnly: false,
          size: 1,
          asOf: undefined,
          before: undefined,
        });
        opened = new TenantChanges(tenant, now, {
          changes: this.#deps.changes,
          clock: this.#deps.clock,
          onLooked: (of, error) => this.#noteLook(of, error),
        });
      } finally {
        if (opened === undefined || released) unlisten();
      }
      if (released) opened.close();
      const { done } = opened;
      this.#ending.add(done);
      void done.finally(() => this.#ending.delete(done));
      if (early) opened.ring();
      return opened;
    };
    return {
      live: open(),
      opened: () => opened,
      users: 0,
      release: () => {
        released = true;
        this.#failing.delete(tenant);
        opened?.close();
        unlisten?.();
      },
    };
  }

  /** All look every second. That the database is away is said once, not by each; anything else is of that tenant. */
  #noteLook(tenant: string, error: Error | undefined): void {
    if (error === undefined) {
      this.#failing.delete(tenant);
      return;
    }
    const isNew = error instanceof StoreError ? this.#failing.size === 0 : !this.#failing.has(tenant);
    this.#failing.add(tenant);
    if (!isNew) return;
    const message =
      "looking for changed workflows fails; it is tried every second, and not said again until it works";
    this.#deps.onFailure(message, error);
  }

  #leave(tenant: string, entry: Entry): void {
    entry.users--;
    if (entry.users > 0 || this.#tenants.get(tenant) !== entry) return;
    this.#tenants.delete(tenant);
    entry.release();
  }
}
