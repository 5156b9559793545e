/**
 * Which moment is shown: the newest, or the one at which somebody stopped. Nothing is lost while it stands still: events go on
 * into the history, and going live again shows them.
 */
import { Store } from "../ui/store.ts";
import type { TreeFeed } from "./tree-feed.ts";
import type { TreeModel } from "./tree-model.ts";

export class Playback {
  readonly #feed: TreeFeed;
  /** undefined: live. */
  readonly stoppedAt = new Store<number | undefined>(undefined);

  constructor(feed: TreeFeed) {
    this.#feed = feed;
  }

  get model(): TreeModel {
    const at = this.stoppedAt.get();
    return at === undefined ? this.#feed.history.live : this.#feed.history.modelAt(at);
  }

  /** How many of the kept entries belong to what is shown. */
  get shownEntries(): number {
    const { history } = this.#feed;
    const at = this.stoppedAt.get();
    return at === undefined ? history.entries.length : history.countUpTo(at);
  }

  pause(): void {
    this.stoppedAt.set(this.#feed.history.live.offset);
  }

  goLive(): void {
    this.stoppedAt.set(undefined);
  }

  seek(offset: number): void {
    const { firstOffset, live } = this.#feed.history;
    this.stoppedAt.set(Math.min(live.offset, Math.max(firstOffset, offset)));
  }

  /** By so many events that are kept. */
  step(count: number): void {
    const { entries } = this.#feed.history;
    const at = Math.min(entries.length, Math.max(1, this.shownEntries + count));
    const entry = entries[at - 1];
    if (entry !== undefined) this.stoppedAt.set(entry.offset);
  }
}
