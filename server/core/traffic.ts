/**
 * What this instance stored, sent and trimmed since it started, by tenant, and what it sent of each stream that has readers here.
 * Sums of a stream end with its last reader; those of a tenant stay, a few bytes for each tenant that was ever served.
 *
 * On the hot path this is two additions a message: a stream holds the sums of its tenant, so nothing is looked up, and
 * whatever needs a look at every reader is left to who asks (system/stats.ts).
 */
import { type Counts, createCounts } from "./counts.ts";
import { type Measures, noMeasures } from "./measures.ts";

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

/** A message to a reader. */
export interface SentMessage {
  readonly events: number;
  /** Of these, how many stand for others, and for how many. */
  readonly conflated: number;
  readonly replaced: number;
  readonly from: "window" | "store";
  /** When its first event was recorded, ms by the database's clock; undefined: before its reader came. */
  readonly oldestMs: number | undefined;
}

export class StreamTraffic {
  readonly owner: StreamOwner;
  readonly #tenant: Sums;
  readonly #all: Pick<Traffic, "counts" | "measures" | "databaseNow">;
  delivered = 0;
  /** Of these, how many stood for others. */
  conflated = 0;
  /** Pages that readers got from the store. */
  storeReads = 0;
  /** When the newest event that came by was recorded, ms; 0: none did. */
  lastEventMs = 0;

  constructor(owner: StreamOwner, tenant: Sums, all: Pick<Traffic, "counts" | "measures" | "databaseNow">) {
    this.owner = owner;
    this.#tenant = tenant;
    this.#all = all;
  }

  /** A message is on its way. */
  sent({ events, conflated, replaced, from, oldestMs }: SentMessage): void {
    const { counts } = this.#all;
    this.delivered += events;
    this.#tenant.delivered += events;
    if (from === "store") counts.replayed += events;
    else counts.windowHits++;
    if (conflated > 0) {
      this.conflated += conflated;
      counts.conflated += conflated;
      counts.replaced += replaced;
    }
    if (oldestMs === undefined) return;
    this.#all.measures.observe("deliverySeconds", Math.max(0, this.#all.databaseNow() - oldestMs) / 1000);
  }

  /** A page is read from the store for a reader. */
  readsStore(): void {
    this.storeReads++;
    this.#all.counts.storeReads++;
  }

  /** Entries were found that no notice had told of. */
  healed(by: "notice" | "tail_check"): void {
    this.#all.counts.healed[by]++;
  }

  saw(newest: { readonly recordedMs: number } | undefined): void {
    if (newest !== undefined && newest.recordedMs > this.lastEventMs) this.lastEventMs = newest.recordedMs;
  }
}

export interface TrafficDeps {
  readonly measures?: Measures;
  /** ms by the database's clock. */
  readonly databaseNow?: () => number;
}

export class Traffic {
  readonly counts: Counts = createCounts();
  readonly measures: Measures;
  readonly databaseNow: () => number;
  readonly #tenants = new Map<string, Sums>();

  constructor({ measures = noMeasures, databaseNow = Date.now }: TrafficDeps = {}) {
    this.measures = measures;
    this.databaseNow = databaseNow;
  }

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
    return new StreamTraffic(owner, this.#of(owner.tenant), this);
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
