/**
 * What one of many subscriptions of a call passes before it takes events: a turn, so that all together hold only a few
 * messages however many they are, and credit, which is the subscription's own. Nothing here waits: who may not go on is
 * rung when that changes, and goes on hearing everything else meanwhile.
 */
import type { Turn, Turns } from "./turns.ts";

/** Where events come from: what waits for the database does not delay what is in memory. */
export type Source = "window" | "store";

export interface Gate {
  /** Events that may still be sent. */
  readonly credit: number;
  /** Called when a turn or credit comes. */
  onChange(ring: () => void): void;
  /** Has it the turn? If not it has asked for it, once. */
  enter(source: Source): boolean;
  /** So many events are on their way. */
  spend(events: number): void;
  /** What was taken is with the transport, or nothing was taken. Safe twice. */
  leave(): void;
}

/** The turns that the subscriptions of a call share. */
export type CallTurns = Readonly<Record<Source, Turns>>;

export class SharedGate implements Gate {
  readonly #turns: CallTurns;
  #ring = () => {};
  #asked: { readonly source: Source; readonly turn: Turn } | undefined;
  #credit: number;

  /** Without initial credit it is not limited until some is granted. */
  constructor(turns: CallTurns, credit: number | undefined) {
    this.#turns = turns;
    this.#credit = credit ?? Number.POSITIVE_INFINITY;
  }

  get credit(): number {
    return this.#credit;
  }

  onChange(ring: () => void): void {
    this.#ring = ring;
  }

  grant(events: number): void {
    this.#credit = (Number.isFinite(this.#credit) ? this.#credit : 0) + events;
    this.#ring();
  }

  enter(source: Source): boolean {
    if (this.#asked?.source !== source) {
      this.leave();
      this.#asked = { source, turn: this.#turns[source].ask(() => this.#ring()) };
    }
    return this.#asked?.turn.held === true;
  }

  spend(events: number): void {
    this.#credit -= events;
  }

  leave(): void {
    this.#asked?.turn.release();
    this.#asked = undefined;
  }
}

/** For a subscription that has its call to itself. */
export const openGate: Gate = {
  credit: Number.POSITIVE_INFINITY,
  onChange() {},
  enter: () => true,
  spend() {},
  leave() {},
};
