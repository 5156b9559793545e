/** A queue with O(1) `shift` at any length: Array.prototype.shift moves all elements of a large array each time. */
export class Fifo<T> {
  #items: T[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#items[this.#head] = undefined as T; // let it go
    this.#head++;
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) this.#compact();
    return item;
  }

  /** Puts items before all others; costs O(length), for rare returns. */
  unshift(...items: T[]): void {
    this.#compact();
    this.#items = [...items, ...this.#items];
  }

  /** Takes out, in order, what the test picks; costs O(length). */
  takeOut(test: (item: T) => boolean): T[] {
    this.#compact();
    const out = this.#items.filter(test);
    if (out.length > 0) this.#items = this.#items.filter((item) => !test(item));
    return out;
  }

  #compact(): void {
    if (this.#head === 0) return;
    this.#items = this.#items.slice(this.#head);
    this.#head = 0;
  }
}
