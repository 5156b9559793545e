/** State outside React. A `Store` holds a value; `Changes` says, once a frame, that something mutable is another one. */
import { useSyncExternalStore } from "react";
import { onFrame } from "./frame.ts";

type Listener = () => void;

export interface Readable<T> {
  readonly get: () => T;
  readonly subscribe: (listener: Listener) => () => void;
}

export class Store<T> implements Readable<T> {
  #value: T;
  readonly #listeners = new Set<Listener>();

  constructor(value: T) {
    this.#value = value;
  }

  readonly get = (): T => this.#value;

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of this.#listeners) listener();
  }

  readonly subscribe = (listener: Listener): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
}

/** For what changes thousands of times a second: readers see its number move at most once a frame, or once in so long. */
export class Changes implements Readable<number> {
  readonly #minIntervalMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #store = new Store(0);
  readonly get = this.#store.get;
  readonly subscribe = this.#store.subscribe;
  readonly #publish = () => this.#store.set(this.#store.get() + 1);

  constructor(minIntervalMs = 0) {
    this.#minIntervalMs = minIntervalMs;
  }

  touch(): void {
    if (this.#timer !== undefined) return;
    onFrame(this.#publish);
    if (this.#minIntervalMs === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      onFrame(this.#publish); // what changed meanwhile
    }, this.#minIntervalMs);
  }
}

export function useStore<T>(store: Readable<T>): T {
  return useSyncExternalStore(store.subscribe, store.get);
}
