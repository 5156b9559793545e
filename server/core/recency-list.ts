/**
 * Things in the order of their last use, each operation O(1). Not a Set with delete and add: that leaves the deleted places
 * behind, and who asks for the first one walks over them (15 µs instead of 1 at 50,000 things).
 */
interface Place<T> {
  readonly thing: T;
  older: Place<T> | undefined;
  newer: Place<T> | undefined;
}

export class RecencyList<T> {
  readonly #places = new Map<T, Place<T>>();
  #oldest: Place<T> | undefined;
  #newest: Place<T> | undefined;

  /** The one used longest ago. */
  get oldest(): T | undefined {
    return this.#oldest?.thing;
  }

  /** Puts it last, also if it is not here yet. */
  use(thing: T): void {
    let place = this.#places.get(thing);
    if (place !== undefined && place === this.#newest) return;
    if (place === undefined) {
      place = { thing, older: undefined, newer: undefined };
      this.#places.set(thing, place);
    } else this.#unlink(place);
    place.older = this.#newest;
    place.newer = undefined;
    if (this.#newest === undefined) this.#oldest = place;
    else this.#newest.newer = place;
    this.#newest = place;
  }

  delete(thing: T): void {
    const place = this.#places.get(thing);
    if (place === undefined) return;
    this.#places.delete(thing);
    this.#unlink(place);
  }

  #unlink({ older, newer }: Place<T>): void {
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
  }
}
