/**
 * What a group of readers of one stream has in common: the tree, a subtree, a workflow or a task. Knows whether it has
 * ended and where, keeps the offsets of its own entries of the window, and wakes its readers when one arrives. So a reader
 * of one child is not touched by what happens in the others.
 *
 * The end is judged from the registry as of `asOf` and from the lifecycle entries after that: nothing is counted twice.
 */
import { type Batch, messageBounds, PlainBatch, type SentEvent, type Test } from "./batch.ts";
import {
  EventType,
  isTaskTerminal,
  isWorkflowTerminal,
  type StoredEvent,
  statusOfTerminal,
} from "./event.ts";
import type { ScopeKey, ScopeState } from "./ports.ts";
import type { ReplayWindow } from "./replay-window.ts";
import { WakeRound } from "./wake-round.ts";

export interface Taken {
  readonly events: readonly SentEvent[];
  /** The cursor before it, and the tail when it was taken. */
  readonly from: number;
  readonly tail: number;
  /** The cursor after it. */
  readonly cursor: number;
}

/** Who reads a scope. */
export interface ScopeReader {
  /** It needs nothing up to here any more. */
  readonly cursor: number;
  /** Something new is there for it. */
  ring(): void;
}

export class Scope {
  readonly key: ScopeKey;
  readonly #window: ReplayWindow;
  /** Offsets of its own entries of the window, rising; undefined for the tree, which owns them all. Not the entries: they must go with the window. */
  #own: number[] | undefined;
  readonly #readers = new Set<ScopeReader>();
  /** Own offsets up to here may be left out of `#own`. */
  #forgottenTo: number;
  readonly #round: WakeRound;
  /** The last shared batch, until those who were rung have had their turn: an idle scope holds no entries. */
  #shared: Taken | undefined;
  #asOf = 0;
  #open = 0;
  /** Of the workflow that was asked for. */
  status = 0;
  /** Last offset of the scope, once it has ended. */
  finalOffset: number | undefined;
  /** Type of the task's terminal event, once it came. */
  taskOutcome: number | undefined;

  constructor(key: ScopeKey, window: ReplayWindow, state: ScopeState) {
    this.key = key;
    this.#window = window;
    this.#own = key.kind === "tree" ? undefined : [];
    this.#forgottenTo = window.from - 1;
    this.#round = new WakeRound(this.#readers, this.#unshare);
    this.rebase(state);
  }

  /** Takes the registry's word as of its offset; lifecycle entries up to there count no more. */
  rebase(state: ScopeState): void {
    this.#asOf = state.tailOffset;
    this.#open = state.openInSubtree;
    this.status = state.status;
    this.finalOffset = state.finalOffset;
    this.taskOutcome = state.taskOutcome;
  }

  get readers(): number {
    return this.#readers.size;
  }

  /**
   * Where each reader stands: before the next entry that is for it. So one that nothing is for is at the tail, though
   * nobody woke it to move its cursor.
   */
  *positions(): Generator<number> {
    for (const { cursor } of this.#readers) {
      if (this.#own === undefined || cursor < this.#forgottenTo) yield cursor;
      else yield (this.#own[firstAfter(this.#own, cursor)] ?? this.#window.tail + 1) - 1;
    }
  }

  join(reader: ScopeReader): void {
    this.#readers.add(reader);
  }

  leave(reader: ScopeReader): void {
    this.#readers.delete(reader);
  }

  /** Takes an entry of this scope that the window has just taken. */
  push(event: StoredEvent): void {
    this.#own?.push(event.offset);
    this.#trim();
    this.noteLifecycle(event);
  }

  /** Takes a lifecycle entry that may end the scope, its own or (for a task) its workflow's. */
  noteLifecycle(event: StoredEvent): void {
    if (event.offset > this.#asOf && this.finalOffset === undefined) this.#judge(event);
  }

  /** Gives up its entries: the window began anew. */
  clear(): void {
    if (this.#own !== undefined) this.#own = [];
    this.#forgottenTo = this.#window.from - 1;
  }

  wake(): void {
    this.#round.begin();
  }

  /**
   * Entries after the cursor that are in the window, as many as fit. Readers at the same place that take plain batches get
   * the same array, so that what is made of it is made once.
   */
  takeShared(cursor: number): Taken {
    const shared = this.#shared;
    if (shared?.from === cursor && shared.tail === this.#window.tail) return shared;
    const taken = this.take(cursor, new PlainBatch(undefined, messageBounds));
    if (this.#shared === undefined && !this.#round.isUnderWay) setImmediate(this.#unshare);
    this.#shared = taken;
    return taken;
  }

  readonly #unshare = (): void => {
    this.#shared = undefined;
  };

  take(from: number, batch: Batch): Taken {
    const { tail } = this.#window;
    let cursor = tail;
    for (const event of this.#after(from)) {
      if (batch.offer(event)) continue;
      cursor = event.offset - 1;
      break;
    }
    return { events: batch.events, from, tail, cursor };
  }

  *#after(cursor: number): Generator<StoredEvent> {
    if (this.#own === undefined) {
      for (let offset = Math.max(cursor + 1, this.#window.from); offset <= this.#window.tail; offset++) {
        yield this.#window.at(offset) as StoredEvent;
      }
      return;
    }
    for (let i = firstAfter(this.#own, cursor); i < this.#own.length; i++) {
      const event = this.#window.at(this.#own[i] as number);
      if (event !== undefined) yield event; // else it has left the window: before the cursor of whoever asks here
    }
  }

  /** Has it an own entry after this cursor in the window? */
  hasAfter(cursor: number): boolean {
    const last = this.#own === undefined ? this.#window.tail : (this.#own.at(-1) ?? 0);
    return last > cursor;
  }

  /** Is there an own entry after this cursor that passes the test? */
  someAfter(cursor: number, test: Test): boolean {
    for (const event of this.#after(cursor)) if (test(event)) return true;
    return false;
  }

  #trim(): void {
    if (this.#own === undefined || this.#own.length < 64) return;
    const gone = firstAfter(this.#own, this.#window.from - 1);
    if (gone * 2 <= this.#own.length) return;
    this.#forgottenTo = this.#own[gone - 1] as number;
    this.#own = this.#own.slice(gone);
  }

  #judge(event: StoredEvent): void {
    const { key } = this;
    if (key.kind === "task") {
      if (isTaskTerminal(event.type) && event.taskExecutionId === key.taskExecutionId) {
        this.taskOutcome = event.type;
        this.finalOffset = event.offset;
      } else if (isWorkflowTerminal(event.type)) {
        this.status = statusOfTerminal(event.type);
        this.finalOffset = event.offset;
      }
      return;
    }
    if (event.type === EventType.WORKFLOW_CREATED) this.#open++;
    if (!isWorkflowTerminal(event.type)) return;
    this.#open--;
    const isTop = event.workflowId === key.workflowId;
    if (isTop) this.status = statusOfTerminal(event.type);
    if (key.kind === "workflow" ? isTop : this.#open === 0) this.finalOffset = event.offset;
  }
}

/** Index of the first offset after this one. */
function firstAfter(offsets: readonly number[], offset: number): number {
  let low = 0;
  let high = offsets.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((offsets[middle] as number) <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
