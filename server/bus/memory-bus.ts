/** Bus within one process: delivers at once, in order, and never loses a notice. For a single instance. */
import type { Bus, Notice } from "../core/ports.ts";

export function createMemoryBus(): Bus {
  const listeners = new Map<string, Set<(notice: Notice) => void>>();
  return {
    publish(notice) {
      for (const listener of listeners.get(notice.streamId) ?? []) listener(notice);
    },
    subscribe(streamId, listener) {
      const set = listeners.get(streamId) ?? new Set();
      listeners.set(streamId, set.add(listener));
      return Promise.resolve(() => {
        set.delete(listener);
        if (set.size === 0 && listeners.get(streamId) === set) listeners.delete(streamId);
      });
    },
    degraded: () => undefined,
    close() {
      listeners.clear();
      return Promise.resolve();
    },
  };
}
