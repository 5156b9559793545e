/**
 * A position that outlives the program. It is saved when the consumer asks for the next item, that is after it has dealt
 * with the one before: a crash in between hands that one over again, and nothing is left out (at least once).
 */
import { LocalError } from "./reading.ts";

export interface StoredPosition {
  /** Begin after it. */
  readonly offset: bigint;
  /** The offset means something in this epoch of the stream only: after a restore from a backup it is another one. */
  readonly epoch: bigint;
}

export interface PositionStore {
  /** undefined: there is none yet. */
  load(): StoredPosition | undefined | Promise<StoredPosition | undefined>;
  /** Whole or not at all. */
  save(position: StoredPosition): void | Promise<void>;
}

/** Saves what is new, and nothing twice. */
export class PositionKeeper {
  readonly #store: PositionStore | undefined;
  #saved: bigint | undefined;

  constructor(store: PositionStore | undefined) {
    this.#store = store;
  }

  async load(): Promise<StoredPosition | undefined> {
    const stored = await this.#store?.load();
    this.#saved = stored?.offset;
    return stored;
  }

  async save(offset: bigint, epoch: bigint | undefined): Promise<void> {
    if (this.#store === undefined || epoch === undefined || offset === this.#saved) return;
    try {
      await this.#store.save({ offset, epoch });
    } catch (error) {
      throw new LocalError("the position could not be saved", { cause: error });
    }
    this.#saved = offset;
  }
}
