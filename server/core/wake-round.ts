/**
 * Rings all who wait, some at a time: with thousands of readers of one scope the first get their bytes out while the last are
 * still to be rung, and commits and other calls are not held up for the whole round. Who is rung late finds everything that
 * came until then, in one message. Each is rung after every `begin`, once or more.
 */
export interface Ringable {
  ring(): void;
}

/** Some 0.5 ms of work for readers that are written to directly. */
const atOnce = 128;

export class WakeRound {
  readonly #waiting: ReadonlySet<Ringable>;
  /** Called when a round is over, after those who were rung had their turn. */
  readonly #onOver: () => void;
  #under: IteratorObject<Ringable> | undefined;
  /** How many of this round have been rung. */
  #rung = 0;
  /** How many are due in this round: all, or those of the one before that were rung too early. */
  #due = Number.POSITIVE_INFINITY;
  /** How many are due in the next one: those that were rung before it was asked for. */
  #again = 0;

  /** Who is added while a round goes on is rung in it. */
  constructor(waiting: ReadonlySet<Ringable>, onOver: () => void) {
    this.#waiting = waiting;
    this.#onOver = onOver;
  }

  get isUnderWay(): boolean {
    return this.#under !== undefined;
  }

  begin(): void {
    if (this.#under !== undefined) {
      this.#again = this.#rung;
      this.#due = Number.POSITIVE_INFINITY;
      return;
    }
    this.#under = this.#waiting.values();
    this.#go();
  }

  #go = (): void => {
    for (let n = 0; n < atOnce; n++) {
      const next = this.#rung < this.#due ? this.#under?.next() : undefined;
      if (next === undefined || next.done === true) {
        this.#end();
        return;
      }
      this.#rung++;
      next.value.ring();
    }
    setImmediate(this.#go);
  };

  #end(): void {
    const again = this.#again;
    this.#rung = this.#again = 0;
    this.#due = again === 0 ? Number.POSITIVE_INFINITY : again;
    this.#under = again === 0 ? undefined : this.#waiting.values();
    setImmediate(again === 0 ? this.#over : this.#go);
  }

  #over = (): void => {
    if (this.#under === undefined) this.#onOver();
  };
}
