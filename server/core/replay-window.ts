/**
 * The recent entries of one stream, shared by all its readers: contiguous, bounded by entries and bytes, oldest leave
 * first. A reader whose cursor lies before `from - 1` has fallen out and reads from the store until it is back.
 */
import { type StoredEvent, sizeOf } from "./event.ts";
import type { WindowMemory } from "./window-memory.ts";

export interface WindowBounds {
  readonly entries: number;
  readonly bytes: number;
  /** Shared with other windows. Absent: not bounded together. */
  readonly memory?: WindowMemory;
}

export class ReplayWindow {
  readonly #bounds: WindowBounds;
  #events: StoredEvent[] = [];
  #head = 0;
  #bytes = 0;
  /** Offset of the last entry pushed: the tail as far as this window knows. */
  #tail: number;

  constructor(tail: number, bounds: WindowBounds) {
    this.#tail = tail;
    this.#bounds = bounds;
  }

  get tail(): number {
    return this.#tail;
  }

  /** Offset of the first entry that is here; tail + 1 if none is. */
  get from(): number {
    return this.#tail + 1 - this.length;
  }

  get length(): number {
    return this.#events.length - this.#head;
  }

  /** Takes the entry that continues the window. */
  push(event: StoredEvent): void {
    if (event.offset !== this.#tail + 1) {
      throw new Error(`a window that ends at ${this.#tail} cannot take offset ${event.offset}`);
    }
    this.#events.push(event);
    this.#tail = event.offset;
    const size = sizeOf(event);
    this.#bytes += size;
    const { entries, bytes, memory } = this.#bounds;
    while (this.length > entries || (this.#bytes > bytes && this.length > 1)) {
      const dropped = this.dropOldest();
      memory?.shrink(dropped);
    }
    memory?.grow(this, size);
  }

  /** Gives up the oldest entry; its bytes, 0 if there is none. */
  dropOldest(): number {
    const oldest = this.#events[this.#head];
    if (oldest === undefined) return 0;
    const size = sizeOf(oldest);
    this.#bytes -= size;
    this.#events[this.#head] = undefined as unknown as StoredEvent;
    this.#head++;
    if (this.length === 0 || (this.#head > 1024 && this.#head * 2 > this.#events.length)) {
      this.#events = this.#events.slice(this.#head);
      this.#head = 0;
    }
    return size;
  }

  /** Begins anew after an offset whose predecessors cannot be had. */
  reset(tail: number): void {
    this.#bounds.memory?.leave(this, this.#bytes);
    this.#events = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#tail = tail;
  }

  /** The entry at this offset; undefined: not here. */
  at(offset: number): StoredEvent | undefined {
    return this.#events[this.#head + offset - this.from];
  }
}
