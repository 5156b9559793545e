/**
 * A batch in which the newest event of a kind stands for the older ones. A kind is a workflow's task and type; for
 * variables a workflow's variable, whether it was set or deleted. What is kept stays at its own place: offsets rise, events
 * of other types are neither lost nor reordered, and the batch ends with the last event that was offered, so that its
 * position is one to resume with.
 *
 * Bounds count what is kept: however much is pending, it costs a reader one batch.
 */
import type { Batch, BatchBounds, SentEvent, Test } from "./batch.ts";
import { EventType, type StoredEvent, sizeOf } from "./event.ts";
import { copyOf } from "./event-layout.ts";

interface Newest {
  at: number;
  replaced: number;
}

const originals = new WeakMap<SentEvent, StoredEvent>();

/** What an event that stands for others is a copy of: what was made of that one need not be made again. */
export const originalOf = (event: SentEvent): StoredEvent | undefined => originals.get(event);

export class ConflatedBatch implements Batch {
  readonly #types: ReadonlySet<number>;
  readonly #filter: Test | undefined;
  readonly #bounds: BatchBounds;
  readonly #newest = new Map<string, Newest>();
  /** With holes where an event was replaced. */
  #kept: (StoredEvent | undefined)[] = [];
  #count = 0;
  #bytes = 0;

  constructor(types: ReadonlySet<number>, filter: Test | undefined, bounds: BatchBounds) {
    this.#types = types;
    this.#filter = filter;
    this.#bounds = bounds;
  }

  offer(event: StoredEvent): boolean {
    if (this.#filter !== undefined && !this.#filter(event)) return true;
    const kind = this.#types.has(event.type) ? kindOf(event) : undefined;
    const newest = kind === undefined ? undefined : this.#newest.get(kind);
    const old = newest && this.#kept[newest.at];
    const count = this.#count + (old === undefined ? 1 : 0);
    const bytes = this.#bytes + sizeOf(event) - (old === undefined ? 0 : sizeOf(old));
    if (count > this.#bounds.entries || (count > 1 && bytes > this.#bounds.bytes)) return false;
    this.#count = count;
    this.#bytes = bytes;
    const at = this.#kept.push(event) - 1;
    if (newest !== undefined) {
      this.#kept[newest.at] = undefined;
      newest.at = at;
      newest.replaced++;
    } else if (kind !== undefined) this.#newest.set(kind, { at, replaced: 0 });
    return true;
  }

  get events(): readonly SentEvent[] {
    const events: (SentEvent | undefined)[] = [...this.#kept];
    for (const { at, replaced } of this.#newest.values()) {
      // A copy: other readers get the same entry with another count, or none.
      if (replaced === 0) continue;
      const original = events[at] as StoredEvent;
      const copy = { ...copyOf(original), replaced };
      originals.set(copy, original);
      events[at] = copy;
    }
    return events.filter((event) => event !== undefined);
  }
}

/** undefined: it stands for itself alone. */
function kindOf(event: StoredEvent): string | undefined {
  if (event.type !== EventType.VARIABLE_SET && event.type !== EventType.VARIABLE_DELETED) {
    return `${event.workflowId} ${event.type} ${event.taskExecutionId}`;
  }
  const name = variableName(event);
  return name === undefined ? undefined : `${event.workflowId} variable ${name}`;
}

/** Parsed once for all readers that get the entry from the same window. */
const names = new WeakMap<StoredEvent, { readonly name: string | undefined }>();

function variableName(event: StoredEvent): string | undefined {
  let known = names.get(event);
  if (known === undefined) {
    known = { name: parseName(event.payload) };
    names.set(event, known);
  }
  return known.name;
}

function parseName(payload: StoredEvent["payload"]): string | undefined {
  if (typeof payload !== "string") return undefined;
  try {
    const { name } = JSON.parse(payload) as { name?: unknown };
    return typeof name === "string" ? name : undefined;
  } catch {
    return undefined; // not as documented: better sent than lost
  }
}
