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

  read(lane: Lane): LaneReading {
    return {
      ...this.#lanes[lane].total,
      capacityEntries: limits.laneEntries[lane],
      capacityBytes: limits.laneBytes,
    };
  }
}
