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

/** For what changes thousands of times a second: readers see its number move at most once a frame. */
export class Changes implements Readable<number> {
  readonly #store = new Store(0);
  readonly get = this.#store.get;
  readonly subscribe = this.#store.subscribe;
  readonly #publish = () => this.#store.set(this.#store.get() + 1);

  touch(): void {
    onFrame(this.#publish);
  }
}

export function useStore<T>(store: Readable<T>): T {
  return useSyncExternalStore(store.subscribe, store.get);
}
