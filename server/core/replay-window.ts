/**
 * The recent entries of one stream, shared by all its readers: contiguous, bounded by entries and bytes, oldest leave
 * first. A reader whose cursor lies before `from - 1` has fallen out and reads from the store until it is back.
 */
import { type StoredEvent, sizeOf } from "./event.ts";

export interface WindowBounds {
  readonly entries: number;
  readonly bytes: number;
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
    this.#bytes += sizeOf(event);
    while (this.length > this.#bounds.entries || (this.#bytes > this.#bounds.bytes && this.length > 1)) {
      this.#bytes -= sizeOf(this.#events[this.#head] as StoredEvent);
      this.#events[this.#head] = undefined as unknown as StoredEvent;
      this.#head++;
    }
    if (this.#head > 1024 && this.#head * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Begins anew after an offset whose predecessors cannot be had. */
  reset(tail: number): void {
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
