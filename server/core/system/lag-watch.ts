/**
 * Sees readers that are far behind for some time: not after a burst, nor one that has caught up by the second look. It looks at the streams
 * that have readers here, every few seconds, O(readers); what it finds is told when it has lasted, and again each minute.
 */
import type { Clock } from "../clock.ts";
import type { Hub } from "../hub.ts";
import type { StreamOwner } from "../traffic.ts";

export interface FarBehind {
  readonly streamId: string;
  readonly owner: StreamOwner;
  /** Entries between the slowest reader and the tail. */
  readonly distance: number;
  /** How many readers are farther behind than the limit. */
  readonly readers: number;
  readonly forMs: number;
}

export interface LagWatchDeps {
  readonly hub: Pick<Hub, "live">;
  readonly clock: Clock;
  readonly tell: (found: FarBehind) => void;
}

const lookEveryMs = 5000;
/** So long it must last, ms. */
const lastsMs = 10_000;
const againMs = 60_000;

export class LagWatch {
  readonly #deps: LagWatchDeps;
  readonly #entries: number;
  /** Streams with such a reader: since when, and when that was told last. */
  readonly #behind = new Map<string, { readonly sinceMs: number; toldMs: number | undefined }>();
  #cancel = () => {};

  /** `entries`: as far behind is far. */
  constructor(deps: LagWatchDeps, entries: number) {
    this.#deps = deps;
    this.#entries = entries;
    this.#schedule();
  }

  close(): void {
    this.#cancel();
  }

  #schedule(): void {
    this.#cancel = this.#deps.clock.after(lookEveryMs, () => {
      this.#look();
      this.#schedule();
    });
  }

  #look(): void {
    const now = this.#deps.clock.now();
    const seen = new Set<string>();
    for (const live of this.#deps.hub.live()) {
      const { tail, streamId } = live;
      let [readers, slowest] = [0, tail];
      for (const position of live.positions()) {
        if (tail - position < this.#entries) continue;
        readers++;
        slowest = Math.min(slowest, position);
      }
      if (readers === 0) continue;
      seen.add(streamId);
      const found = this.#behind.get(streamId) ?? { sinceMs: now, toldMs: undefined };
      this.#behind.set(streamId, found);
      const forMs = now - found.sinceMs;
      if (forMs < lastsMs || now - (found.toldMs ?? Number.NEGATIVE_INFINITY) < againMs) continue;
      found.toldMs = now;
      this.#deps.tell({ streamId, owner: live.traffic.owner, distance: tail - slowest, readers, forMs });
    }
    for (const streamId of this.#behind.keys()) if (!seen.has(streamId)) this.#behind.delete(streamId);
  }
}
