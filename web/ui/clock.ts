/** The time of day as a store that moves once a second, for ages and countdowns; it stands still while nobody looks. */
import { type Readable, Store, useStore } from "./store.ts";

const store = new Store(Date.now());
let watchers = 0;
let timer: ReturnType<typeof setInterval> | undefined;

const clock: Readable<number> = {
  get: store.get,
  subscribe(listener) {
    const stop = store.subscribe(listener);
    watchers += 1;
    timer ??= setInterval(() => store.set(Date.now()), 1000);
    return () => {
      stop();
      watchers -= 1;
      if (watchers > 0) return;
      clearInterval(timer);
      timer = undefined;
    };
  },
};

export const useNow = (): number => useStore(clock);
