/** Time as a dependency, so that tests turn it by hand. */
export interface Clock {
  /** ms since the epoch. */
  now(): number;
  /** Calls `callback` once after `delayMs`; the returned function cancels. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): () => void;
}

/** It never changes, and to ask for it takes as long as to ask for the time. */
const originMs = performance.timeOrigin;

/** Never steps, whatever becomes of the machine's wall clock: what is counted with it is how much time has passed. */
export const systemClock: Clock = {
  now: () => Math.floor(originMs + performance.now()),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
