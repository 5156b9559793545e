/** Bus within one process: delivers at once, in order, and never loses anything. For a single instance. */
import type { Bus, Notice, SignalBody } from "../core/ports.ts";
import { Listeners } from "./listeners.ts";
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
    dropped: () => 0,
    onChange: () => () => {},
    onRestored: () => () => {},
    close() {
      notices.clear();
      signals.clear();
      return Promise.resolve();
    },
  };
}
