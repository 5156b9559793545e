/**
 * What goes into one message: entries are offered in order until one does not fit. Bounded by entries and bytes; one
 * larger entry may stand alone.
 */
import { type StoredEvent, sizeOf } from "./event.ts";
import { limits } from "./limits.ts";
import type { EventFilter } from "./ports.ts";

export type Test = (event: StoredEvent) => boolean;

/** An event as a reader gets it. */
export interface SentEvent extends StoredEvent {
  /** How many older events it stands for; absent: none. */
  readonly replaced?: number;
}

export interface Batch {
  /** False: it does not fit any more, and begins the next batch. */
  offer(event: StoredEvent): boolean;
  readonly events: readonly SentEvent[];
}

export interface BatchBounds {
  /** 0: nothing fits, which tells whether something would be taken. */
  readonly entries: number;
  readonly bytes: number;
}

/** What a message holds at most. */
export const messageBounds: BatchBounds = { entries: limits.batchEntries, bytes: limits.batchBytes };

/** All that pass the filter. */
export class PlainBatch implements Batch {
  readonly events: StoredEvent[] = [];
  readonly #filter: Test | undefined;
  readonly #bounds: BatchBounds;
  #bytes = 0;

  constructor(filter: Test | undefined, bounds: BatchBounds) {
    this.#filter = filter;
    this.#bounds = bounds;
  }

  offer(event: StoredEvent): boolean {
    if (this.#filter !== undefined && !this.#filter(event)) return true;
    const { length } = this.events;
    const size = sizeOf(event);
    if (length >= this.#bounds.entries || (length > 0 && this.#bytes + size > this.#bounds.bytes)) {
      return false;
    }
    this.events.push(event);
    this.#bytes += size;
    return true;
  }
}

/** undefined: everything passes. */
export function toTest({ types, tasks }: EventFilter): Test | undefined {
  if (types === undefined && tasks === undefined) return undefined;
  const typeSet = types && new Set(types);
  const taskSet = tasks && new Set(tasks);
  return (event) =>
    (typeSet === undefined || typeSet.has(event.type)) &&
    (taskSet === undefined || taskSet.has(event.taskExecutionId));
}
