/**
 * The events that the page keeps: the newest 100,000, or 32 Mi characters of them, whichever is less. What falls out is applied to
 * `#base`, the tree just before the first that is kept; so the tree as of any kept offset is `#base` and the events after it,
 * and memory is bounded however long the tree lives.
 */
import type { Entry } from "./entry.ts";
import { type KnownWorkflow, TreeModel } from "./tree-model.ts";

export const mostEntries = 100_000;
const mostCharacters = 32 * 1024 * 1024;
/** Removed together: to shift an array costs as much for one as for many. */
const removedAtOnce = 2_000;

export class History {
  readonly live = new TreeModel();
  readonly #most: number;
  #entries: Entry[] = [];
  #characters = 0;
  readonly #base = new TreeModel();
  /** The tree that was asked for last: the next is often a little later. */
  #past: TreeModel | undefined;
  #pastCount = 0;
  /** How many were removed: the place of an entry in all of them is its index plus this. */
  removed = 0;

  constructor(most = mostEntries) {
    this.#most = most;
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  get firstOffset(): number {
    return this.#entries[0]?.offset ?? 0;
  }

  add(entry: Entry): void {
    this.#entries.push(entry);
    this.#characters += entry.text.length;
    this.live.apply(entry);
    if (this.#entries.length > this.#most + removedAtOnce) this.#remove(removedAtOnce);
    while (this.#characters > mostCharacters && this.#entries.length > 1) {
      this.#remove(Math.min(removedAtOnce, Math.ceil(this.#entries.length / 2)));
    }
  }

  learn(workflows: readonly KnownWorkflow[]): void {
    this.#base.learn(workflows);
    this.live.learn(workflows);
    this.#past = undefined;
  }

  /** How many kept entries lie at or before this offset. */
  countUpTo(offset: number): number {
    let [low, high] = [0, this.#entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#entries[middle]?.offset ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The tree as it was then. */
  modelAt(offset: number): TreeModel {
    const count = this.countUpTo(offset);
    if (this.#past === undefined || count < this.#pastCount) {
      this.#past = this.#base.clone();
      this.#pastCount = 0;
    }
    for (let at = this.#pastCount; at < count; at += 1) this.#past.apply(this.#entries[at] as Entry);
    this.#pastCount = count;
    return this.#past;
  }

  #remove(count: number): void {
    const gone = this.#entries.slice(0, count);
    this.#entries = this.#entries.slice(count);
    for (const entry of gone) {
      this.#base.apply(entry);
      this.#characters -= entry.text.length;
    }
    this.removed += gone.length;
    this.#past = undefined;
  }
}
