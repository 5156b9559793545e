/**
 * The streams that have readers on this instance. Each is subscribed on the bus once, however many read it, and let go
 * with its last reader. A subscription is live only after the bus confirmed it, and only then the tail is read; so nothing
 * falls between.
 *
 * The tail check asks Postgres once a second, 500 streams a query, for the tails of all these streams: it heals a lost last
 * notice. So the bus can make delivery slow, never wrong.
 */
import type { Clock } from "./clock.ts";
import { DomainError } from "./errors.ts";
import { limits } from "./limits.ts";
import { LiveStream, type LiveStreamDeps } from "./live-stream.ts";
import { PageTurns } from "./page-turns.ts";
import type { Bus, EventStore, Notice, StreamBounds } from "./ports.ts";
import type { WindowBounds } from "./replay-window.ts";
import type { StreamOwner, Traffic } from "./traffic.ts";
import { WindowMemory } from "./window-memory.ts";
import { WriteTurns } from "./write-turns.ts";

export interface HubDeps extends LiveStreamDeps {
  readonly store: Pick<EventStore, "readPage" | "readScope" | "readParents" | "readTails">;
  readonly bus: Pick<Bus, "subscribe">;
  readonly clock: Clock;
  readonly traffic: Pick<Traffic, "openStream">;
}

export interface HubOptions {
  readonly tailCheckIntervalMs: number;
  readonly window: WindowBounds;
  /** Of all windows together. */
  readonly windowsBytes: number;
}

export const defaultHubOptions: HubOptions = {
  tailCheckIntervalMs: 1000,
  window: { entries: limits.windowEntries, bytes: limits.windowBytes },
  windowsBytes: limits.windowsBytes,
};

/** Pages of history read at once, of all streams. */
const pagesAtOnce = 2;

/** Streams of one query of the tail check: all others wait while its answer is taken in, some µs for each. */
const tailsAtOnce = 500;

interface Entry {
  readonly live: Promise<LiveStream>;
  /** It, once it is live. */
  opened(): LiveStream | undefined;
  users: number;
  release(): void;
}

export class Hub {
  readonly #deps: HubDeps;
  readonly #options: HubOptions;
  readonly #memory: WindowMemory;
  readonly #history: PageTurns;
  readonly #writeTurns: WriteTurns;
  readonly #streams = new Map<string, Entry>();
  #ticking = false;
  /** A check that was asked for has not begun. */
  #isAsked = false;
  /** The tail check under way. */
  #checking: Promise<void> = Promise.resolve();

  constructor(deps: HubDeps, options: HubOptions = defaultHubOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#memory = new WindowMemory(options.windowsBytes);
    this.#writeTurns = new WriteTurns(deps.clock);
    this.#history = new PageTurns(deps.store, pagesAtOnce);
  }

  /** Streams with readers. */
  get size(): number {
    return this.#streams.size;
  }

  /** The live streams, for statistics. */
  *live(): Generator<LiveStream> {
    for (const entry of this.#streams.values()) {
      const live = entry.opened();
      if (live !== undefined) yield live;
    }
  }

  /** Is its last tail check at most two intervals old? One passes until the next begins, another one is for its answer. */
  isChecked(live: LiveStream): boolean {
    return this.#deps.clock.now() - live.checkedMs <= 2 * this.#options.tailCheckIntervalMs;
  }

  /** The stream, live. Each call needs one `release`. Throws when the tail cannot be read, or `not_found`. */
  async acquire(streamId: string, owner: StreamOwner): Promise<LiveStream> {
    let entry = this.#streams.get(streamId);
    if (entry === undefined) {
      entry = this.#open(streamId, owner);
      this.#streams.set(streamId, entry);
      this.#scheduleTailCheck();
    }
    entry.users++;
    try {
      return await entry.live;
    } catch (error) {
      this.#leave(streamId, entry);
      throw error;
    }
  }

  release(live: LiveStream): void {
    const entry = this.#streams.get(live.streamId);
    if (entry?.opened() === live) this.#leave(live.streamId, entry);
  }

  /** Looks at all tails now and not in a second: notices were lost. */
  checkNow(): void {
    if (this.#streams.size === 0 || this.#isAsked) return;
    this.#isAsked = true;
    void this.#check();
  }

  /** Waits for the tail check under way: it uses the store, which is closed after the hub. */
  async close(): Promise<void> {
    for (const [streamId, entry] of this.#streams) {
      this.#streams.delete(streamId);
      entry.release();
    }
    await this.#checking;
  }

  #open(streamId: string, owner: StreamOwner): Entry {
    let unsubscribe: (() => void) | undefined;
    let opened: LiveStream | undefined;
    let early = 0;
    const open = async () => {
      unsubscribe = await this.#deps.bus.subscribe(streamId, (notice: Notice) => {
        if (opened === undefined) early = Math.max(early, notice.to);
        else opened.onNotice(notice);
      });
      const bounds = (await this.#deps.store.readTails([streamId])).get(streamId);
      if (bounds === undefined)
        throw new DomainError("not_found", `stream ${streamId} does not exist (any more)`);
      const window = { ...this.#options.window, memory: this.#memory };
      const traffic = this.#deps.traffic.openStream(owner);
      const deps = { ...this.#deps, history: this.#history, writeTurns: this.#writeTurns };
      opened = new LiveStream(streamId, bounds.tailOffset, deps, window, traffic);
      this.#noteChecked(opened, bounds);
      opened.noteEarly(early);
      return opened;
    };
    return {
      live: open(),
      opened: () => opened,
      users: 0,
      release: () => {
        opened?.close();
        unsubscribe?.();
      },
    };
  }

  #noteChecked(live: LiveStream, { tailOffset, floorOffset }: StreamBounds): void {
    live.checkedMs = this.#deps.clock.now();
    live.floor = floorOffset;
    live.checkTail(tailOffset);
  }

  #leave(streamId: string, entry: Entry): void {
    entry.users--;
    if (entry.users > 0 || this.#streams.get(streamId) !== entry) return;
    this.#streams.delete(streamId);
    entry.release();
  }

  /** One timer for all streams; it ends by itself when none is left. */
  #scheduleTailCheck(): void {
    if (this.#ticking) return;
    this.#ticking = true;
    this.#deps.clock.after(this.#options.tailCheckIntervalMs, () => {
      void this.#check().then(() => {
        this.#ticking = false;
        if (this.#streams.size > 0) this.#scheduleTailCheck();
      });
    });
  }

  /** One at a time; one that is asked for meanwhile is made afterwards. */
  #check(): Promise<void> {
    this.#checking = this.#checking.then(() => this.#checkTails());
    return this.#checking;
  }

  async #checkTails(): Promise<void> {
    this.#isAsked = false;
    try {
      // None also after `close`, when the timer was still set and the store is gone.
      const ids = [...this.live()].map((live) => live.streamId);
      for (let i = 0; i < ids.length; i += tailsAtOnce) await this.#checkSome(ids.slice(i, i + tailsAtOnce));
    } catch (error) {
      this.#deps.onFailure("the tail check failed; it goes on", error as Error);
    }
  }

  async #checkSome(ids: readonly string[]): Promise<void> {
    const tails = await this.#deps.store.readTails(ids);
    for (const id of ids) {
      const live = this.#streams.get(id)?.opened();
      const bounds = tails.get(id);
      if (bounds === undefined) live?.noteDeleted();
      else if (live !== undefined) this.#noteChecked(live, bounds);
    }
  }
}
