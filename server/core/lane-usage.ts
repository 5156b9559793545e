/**
 * How full the lanes are, by entries and by bytes, in all and per tenant. Guarantees that no lane ever holds more than
 * its capacity, and that one tenant cannot take all of it: a tenant may hold as much as is free (the dynamic threshold of
 * Choudhury and Hahne, 1998), so a lone flooder gets half and there is room for everybody else.
 */
import type { Lane } from "./command.ts";
import { limits } from "./limits.ts";

interface Amount {
  entries: number;
  bytes: number;
}

export interface LaneReading extends Amount {
  readonly capacityEntries: number;
  readonly capacityBytes: number;
}

export class LaneUsage {
  readonly #lanes: Record<Lane, { total: Amount; tenants: Map<string, Amount> }> = {
    high: { total: { entries: 0, bytes: 0 }, tenants: new Map() },
    normal: { total: { entries: 0, bytes: 0 }, tenants: new Map() },
    low: { total: { entries: 0, bytes: 0 }, tenants: new Map() },
  };

  /** false: it does not fit. */
  take(lane: Lane, tenant: string, amount: Readonly<Amount>): boolean {
    const { total, tenants } = this.#lanes[lane];
    const held = tenants.get(tenant) ?? { entries: 0, bytes: 0 };
    if (
      held.entries + amount.entries > limits.laneEntries[lane] - total.entries ||
      held.bytes + amount.bytes > limits.laneBytes - total.bytes
    ) {
      return false;
    }
    held.entries += amount.entries;
    held.bytes += amount.bytes;
    tenants.set(tenant, held);
    total.entries += amount.entries;
    total.bytes += amount.bytes;
    return true;
  }

  give(lane: Lane, tenant: string, amount: Readonly<Amount>): void {
    const { total, tenants } = this.#lanes[lane];
    total.entries -= amount.entries;
    total.bytes -= amount.bytes;
    const held = tenants.get(tenant);
    if (held === undefined) return;
    held.entries -= amount.entries;
    held.bytes -= amount.bytes;
    if (held.entries <= 0) tenants.delete(tenant);
  }

  /** 0–1: the largest of the tenant's share, the lane, and all lanes together; each the larger of entries and bytes. */
  pressure(lane: Lane, tenant: string | undefined): number {
    const { total, tenants } = this.#lanes[lane];
    const held = tenant === undefined ? undefined : tenants.get(tenant);
    const lanes = Object.keys(this.#lanes) as Lane[];
    const sum = (amount: "entries" | "bytes") =>
      lanes.reduce((all, name) => all + this.#lanes[name].total[amount], 0);
    const capacity = lanes.reduce((all, name) => all + limits.laneEntries[name], 0);
    return Math.min(
      1,
      Math.max(
        held === undefined ? 0 : ratio(held.entries, limits.laneEntries[lane] - total.entries),
        held === undefined ? 0 : ratio(held.bytes, limits.laneBytes - total.bytes),
        total.entries / limits.laneEntries[lane],
        total.bytes / limits.laneBytes,
        sum("entries") / capacity,
        sum("bytes") / (limits.laneBytes * lanes.length),
      ),
    );
  }

  /** Is every lane below a quarter, so that nobody's pressure can be a third? Cheap, for those who ask at each entry. */
  isFarFromFull(): boolean {
    const { high, normal, low } = this.#lanes;
    return (
      isBelowQuarter("high", high.total) &&
      isBelowQuarter("normal", normal.total) &&
      isBelowQuarter("low", low.total)
    );
  }

  /** In all, or of one tenant. */
  read(lane: Lane, tenant?: string): LaneReading {
    const { total, tenants } = this.#lanes[lane];
    return {
      ...(tenant === undefined ? total : (tenants.get(tenant) ?? { entries: 0, bytes: 0 })),
      capacityEntries: limits.laneEntries[lane],
      capacityBytes: limits.laneBytes,
    };
  }
}

const isBelowQuarter = (lane: Lane, { entries, bytes }: Amount): boolean =>
  entries * 4 < limits.laneEntries[lane] && bytes * 4 < limits.laneBytes;

/** What is held, of as much as is free: the bound of `take`. */
const ratio = (held: number, free: number): number => (held === 0 ? 0 : free <= 0 ? 1 : held / free);
