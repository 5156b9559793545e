/** Bus within one process: delivers at once, in order, and never loses anything. For a single instance. */
import type { Bus, Notice, SignalBody } from "../core/ports.ts";
import { toSignalText } from "./signal-text.ts";

export function createMemoryBus(): Bus {
  const notices = new Listeners<Notice>();
  const signals = new Listeners<string>();
  return {
    publish: (notice) => notices.tell(notice.streamId, notice),
    subscribe: (streamId, listener) => Promise.resolve(notices.add(streamId, listener)),
    signal: (topic, body) => signals.tell(topic, toSignalText(topic, body)),
    onSignal: (topic, listener) =>
      Promise.resolve(signals.add(topic, (text) => listener(JSON.parse(text) as SignalBody))),
    degraded: () => undefined,
    close() {
      notices.clear();
      signals.clear();
      return Promise.resolve();
    },
  };
}

class Listeners<T> {
  readonly #byName = new Map<string, Set<(message: T) => void>>();

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
