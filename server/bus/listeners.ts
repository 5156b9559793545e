/** Who listens in this process, by name. Telling them is O(listeners of that name); who stops twice harms nobody. */
export class Listeners<T> {
  readonly #byName = new Map<string, Set<(message: T) => void>>();

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  tell(name: string, message: T): void {
    for (const listener of this.#byName.get(name) ?? []) listener(message);
  }

  add(name: string, listener: (message: T) => void): () => void {
    const set = this.#byName.get(name) ?? new Set();
    this.#byName.set(name, set.add(listener));
    return () => {
      set.delete(listener);
      if (set.size === 0 && this.#byName.get(name) === set) this.#byName.delete(name);
    };
  }

  clear(): void {
    this.#byName.clear();
  }
}
