/**
 * Removes what is older or more than it is to be kept, a batch at a time: first floors are raised, and committed, which is
 * when readers are told of gaps; then the rows below them are deleted. It may die anywhere: the next sweep, of whatever
 * instance, finds what is left. Every instance sweeps; a batch takes its turn among all of them, so none does another's work.
 *
 * It must not disturb those who write. A batch is small (a batch that takes long makes the next one smaller, since an entry
 * may be a byte or a MiB), and after each there is a pause of at least as long. Streams in use are passed by, and only one
 * at a time is waited for. What it costs commits is in docs/decisions/0014-retention.md.
 */
import type { Clock } from "../clock.ts";
import type { RetentionStore, Trimmed } from "./retention-store.ts";

export interface SweepDeps {
  readonly store: RetentionStore;
  readonly clock: Clock;
  /** Told after a round that took something from readers. */
  readonly onTrimmed: (trimmed: readonly Trimmed[]) => void;
  readonly onFailure: (message: string, error: Error) => void;
}

export interface SweepOptions {
  /** Between the end of a round and the next one, ms. */
  readonly intervalMs: number;
  /** Streams whose floor is raised in one batch: their writers wait for it. */
  readonly streams: number;
  /** Entries deleted in one batch, to begin with and at most. */
  readonly entries: number;
  /** What a batch should take, ms. */
  readonly batchMs: number;
  /** Shortest pause after a batch, ms. */
  readonly pauseMs: number;
  /** Then a round is over, and the next one begins after a pause. */
  readonly roundBatches: number;
}

export const defaultSweepOptions: SweepOptions = {
  intervalMs: 5000,
  streams: 100,
  entries: 2000,
  batchMs: 25,
  pauseMs: 25,
  roundBatches: 500,
};

const fewestEntries = 10;
/** Streams that are waited for in one round. */
const patience = 20;

export class RetentionSweep {
  readonly #deps: SweepDeps;
  readonly #options: SweepOptions;
  #entries: number;
  #closed = false;
  #round: Promise<void> = Promise.resolve();
  #cancelTimer = () => {};
  #wake = () => {};

  constructor(deps: SweepDeps, options: Partial<SweepOptions> = {}) {
    this.#deps = deps;
    this.#options = { ...defaultSweepOptions, ...options };
    this.#entries = this.#options.entries;
    this.#schedule(this.#options.intervalMs);
  }

  /** Waits for the batch under way. Safe twice. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelTimer();
    this.#wake();
    await this.#round;
  }

  #schedule(afterMs: number): void {
    if (this.#closed) return;
    this.#cancelTimer = this.#deps.clock.after(afterMs, () => {
      this.#round = this.#sweep();
    });
  }

  async #sweep(): Promise<void> {
    let cut = false;
    try {
      cut = await this.round();
    } catch (error) {
      this.#deps.onFailure("the retention sweep failed; it goes on later", error as Error);
    }
    this.#schedule(cut ? this.#options.pauseMs : this.#options.intervalMs);
  }

  /**
   * Until nothing is left of what was to do when it began, or for as many batches as a round may have: then true. Streams
   * that are written to all the time are over their limit again at once: a round that took them too would never end.
   */
  async round(): Promise<boolean> {
    const sums = new Map<string, Trimmed>();
    try {
      let patient = 0;
      let beganMs: number | undefined;
      for (let batch = 0; batch < this.#options.roundBatches; batch++) {
        const startedMs = this.#deps.clock.now();
        const raised = await this.#raise(patient > 0, beganMs, sums);
        beganMs ??= raised.nowMs;
        const deleted = raised.busy ? raised : await this.#delete();
        if (raised.busy || deleted.busy) return false;
        const isWaiting = !raised.more && raised.left && patient < patience;
        if (!raised.more && !deleted.more && !isWaiting) return false;
        patient = isWaiting ? patient + 1 : 0;
        await this.#pause(this.#deps.clock.now() - startedMs);
        if (this.#closed) return false;
      }
      return true;
    } finally {
      if (sums.size > 0) this.#deps.onTrimmed([...sums.values()]);
    }
  }

  async #raise(patient: boolean, notedUntilMs: number | undefined, sums: Map<string, Trimmed>) {
    const raised = await this.#deps.store.raiseFloors(this.#options.streams, patient, notedUntilMs);
    for (const { tenant, streams, entries } of raised.trimmed) {
      const sum = sums.get(tenant);
      sums.set(tenant, {
        tenant,
        streams: streams + (sum?.streams ?? 0),
        entries: entries + (sum?.entries ?? 0),
      });
    }
    return raised;
  }

  /** More of a batch that was quick, less of one that was slow, or was not done: it may have been too slow for the database. */
  async #delete() {
    const { clock, store } = this.#deps;
    const { batchMs, entries } = this.#options;
    const startedMs = clock.now();
    const smaller = Math.max(fewestEntries, Math.ceil(this.#entries / 2));
    const deleted = await store.deleteEntries(this.#entries).catch((error) => {
      this.#entries = smaller;
      throw error;
    });
    const tookMs = clock.now() - startedMs;
    if (tookMs > 2 * batchMs) this.#entries = smaller;
    else if (tookMs < batchMs) this.#entries = Math.min(entries, this.#entries * 2);
    // What somebody else is deleting is not waited for.
    return { ...deleted, more: deleted.more && deleted.deleted > 0 };
  }

  async #pause(tookMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = this.#deps.clock.after(Math.max(this.#options.pauseMs, tookMs), resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
      if (this.#closed) this.#wake();
    });
  }
}
