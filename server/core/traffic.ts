/**
 * What this instance stored, sent and trimmed since it started, by tenant, and what it sent of each stream that has readers here.
 * Sums of a stream end with its last reader; those of a tenant stay, a few bytes for each tenant that was ever served.
 *
 * On the hot path this is two additions a message: a stream holds the sums of its tenant, so nothing is looked up, and
 * whatever needs a look at every reader is left to who asks (system/stats.ts).
 */

/** Whose stream it is; never changes. */
export interface StreamOwner {
  readonly tenant: string;
  /** Of a tree. */
  readonly rootWorkflowId: string | undefined;
  /** Of observations. */
  readonly space: string | undefined;
}

/** Entries. */
export interface Sums {
  /** Committed by this instance. */
  published: number;
  /** Given to the calls of readers. */
  delivered: number;
  /** Taken from readers by retention that this instance enforced. */
  trimmed: number;
}

const none: Readonly<Sums> = { published: 0, delivered: 0, trimmed: 0 };

export class StreamTraffic {
  readonly owner: StreamOwner;
  readonly #tenant: Sums;
  delivered = 0;
  /** Of these, how many stood for others. */
  conflated = 0;
  /** Pages that readers got from the store. */
  storeReads = 0;
  /** When the newest event that came by was recorded, ms; 0: none did. */
  lastEventMs = 0;

  constructor(owner: StreamOwner, tenant: Sums) {
    this.owner = owner;
    this.#tenant = tenant;
  }

  /** A message of so many events is on its way. */
  sent(events: number, conflated: number): void {
    this.delivered += events;
    this.conflated += conflated;
    this.#tenant.delivered += events;
  }

  saw(newest: { readonly recordedMs: number } | undefined): void {
    if (newest !== undefined && newest.recordedMs > this.lastEventMs) this.lastEventMs = newest.recordedMs;
  }
}

export class Traffic {
  readonly #tenants = new Map<string, Sums>();

  /** A group commit stored so many entries of a tenant. */
  stored(tenant: string, entries: number): void {
    this.#of(tenant).published += entries;
  }

  /** Retention removed so many entries of a tenant. */
  trimmed(tenant: string, entries: number): void {
    this.#of(tenant).trimmed += entries;
  }

  /** Of a stream that gets its first reader. */
  openStream(owner: StreamOwner): StreamTraffic {
    return new StreamTraffic(owner, this.#of(owner.tenant));
  }

  /** undefined: of all. */
  sums(tenant: string | undefined): Readonly<Sums> {
    if (tenant !== undefined) return { ...(this.#tenants.get(tenant) ?? none) };
    const all = { ...none };
    for (const { published, delivered, trimmed } of this.#tenants.values()) {
      all.published += published;
      all.delivered += delivered;
      all.trimmed += trimmed;
    }
    return all;
  }

  #of(tenant: string): Sums {
    let sums = this.#tenants.get(tenant);
    if (sums === undefined) {
      sums = { ...none };
      this.#tenants.set(tenant, sums);
    }
    return sums;
  }
}
