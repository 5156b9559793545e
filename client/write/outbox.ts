/**
 * What was written and is not settled: kept for as long as the server may not have it, bounded by entries and bytes. Who
 * writes more waits, in order; what waits is bounded too.
 *
 * Entries are numbered from 1 over the life of the outbox; which number that is in the server's session, the session knows.
 */

import type { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import { TooManyWritesError } from "./errors.ts";

/** An entry is stored for good. */
export interface Settled {
  readonly level: typeof AckLevel.DURABLE;
  /** Its number in the session, which readers see. */
  readonly sequence: number;
  /** It stands at this offset or before: acknowledgements cover several. undefined: known from a resume alone. */
  readonly offset: bigint | undefined;
}

/** What `write` gives: the entry is in the outbox. */
export interface Written {
  /** Resolves when it is stored, rejects when it never will be. */
  readonly settled: Promise<Settled>;
}

export class Slot<E> implements Written {
  entry: E | undefined;
  readonly bytes: number;
  /** Somebody asked what became of it. */
  observed = false;
  rejection: Error | undefined;
  #outcome: Settled | Error | undefined;
  #deferred: PromiseWithResolvers<Settled> | undefined;

  constructor(entry: E, bytes: number) {
    this.entry = entry;
    this.bytes = bytes;
  }

  get settled(): Promise<Settled> {
    this.observed = true;
    const outcome = this.#outcome;
    if (outcome instanceof Error) return Promise.reject(outcome);
    if (outcome !== undefined) return Promise.resolve(outcome);
    this.#deferred ??= Promise.withResolvers<Settled>();
    return this.#deferred.promise;
  }

  finish(outcome: Settled | Error): void {
    this.#outcome = outcome;
    this.entry = undefined;
    if (outcome instanceof Error) this.#deferred?.reject(outcome);
    else this.#deferred?.resolve(outcome);
  }
}

export interface OutboxLimits {
  readonly maxEntries: number;
  readonly maxBytes: number;
}

/** So many writes may wait for room. */
const mostWaiting = 1000;

interface Waiting {
  readonly bytes: number;
  readonly admit: () => void;
  readonly refuse: (error: Error) => void;
}

export class Outbox<E> {
  readonly #limits: OutboxLimits;
  #slots: (Slot<E> | undefined)[] = [];
  /** Index of the first one that is kept. */
  #head = 0;
  #waiting: Waiting[] = [];
  #idle: (() => void)[] = [];
  /** Everything up to this number is settled. */
  settled = 0;
  /** Payload bytes that are kept. */
  bytes = 0;

  constructor(limits: OutboxLimits) {
    this.#limits = limits;
  }

  /** Number of the newest entry. */
  get last(): number {
    return this.settled + this.size;
  }

  get size(): number {
    return this.#slots.length - this.#head;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** One entry may stand alone, however large. */
  hasRoom(bytes: number): boolean {
    if (this.#waiting.length > 0) return false;
    return this.#fits(bytes);
  }

  add(entry: E, bytes: number): Slot<E> {
    const slot = new Slot(entry, bytes);
    this.#slots.push(slot);
    this.bytes += bytes;
    return slot;
  }

  /** Waits for room, and gives the entry its place at the moment there is some. */
  async addWhenRoom(entry: E, bytes: number, signal: AbortSignal | undefined): Promise<Slot<E>> {
    if (this.#waiting.length >= mostWaiting) {
      throw new TooManyWritesError(
        `${mostWaiting} writes wait for room already; await each write, or use tryWrite`,
      );
    }
    signal?.throwIfAborted();
    let stop = () => {};
    try {
      return await new Promise<Slot<E>>((resolve, reject) => {
        const waiting = { bytes, admit: () => resolve(this.add(entry, bytes)), refuse: reject };
        this.#waiting.push(waiting);
        // Either it has its place or it is gone, at once: what is aborted is not written.
        stop = () => {
          const at = this.#waiting.indexOf(waiting);
          if (at < 0) return;
          this.#waiting.splice(at, 1);
          reject(signal?.reason);
          this.#admit(); // a smaller one behind it may fit
        };
        signal?.addEventListener("abort", stop, { once: true });
      });
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Of entries that are kept. */
  at(number: number): Slot<E> | undefined {
    return number > this.settled ? this.#slots[this.#head + number - this.settled - 1] : undefined;
  }

  /** These are settled for good: stored, or rejected before. */
  settle(upTo: number, outcomeOf: (number: number, slot: Slot<E>) => Settled | Error): void {
    while (this.settled < Math.min(upTo, this.last)) {
      const slot = this.#slots[this.#head] as Slot<E>;
      const number = this.settled + 1;
      this.#slots[this.#head++] = undefined;
      this.settled = number;
      this.bytes -= slot.bytes;
      slot.finish(slot.rejection ?? outcomeOf(number, slot));
    }
    if (this.#head > 1024 && this.#head * 2 > this.#slots.length) {
      this.#slots = this.#slots.slice(this.#head);
      this.#head = 0;
    }
    this.#admit();
    if (this.size === 0 && this.#waiting.length === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Resolves when everything that was written before is settled. */
  whenEmpty(): Promise<void> {
    if (this.size === 0 && this.#waiting.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Nothing more will be settled. */
  giveUp(error: Error): void {
    for (const { refuse } of this.#waiting.splice(0)) refuse(error);
    this.settle(this.last, () => error);
  }

  #fits(bytes: number): boolean {
    const { maxEntries, maxBytes } = this.#limits;
    return this.size === 0 || (this.size < maxEntries && this.bytes + bytes <= maxBytes);
  }

  #admit(): void {
    let admitted = 0;
    for (const { bytes, admit } of this.#waiting) {
      if (!this.#fits(bytes)) break;
      admit();
      admitted += 1;
    }
    if (admitted > 0) this.#waiting.splice(0, admitted);
  }
}
