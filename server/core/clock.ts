/** Time as a dependency, so that tests turn it by hand. */
export interface Clock {
  /** ms, for intervals: goes on evenly, whatever somebody does to the machine's clock. */
  now(): number;
  /** ms since the epoch by the machine's clock, which may jump: for what others read, or have written. */
  wallNow(): number;
  /** Calls `callback` once after `delayMs`; the returned function cancels. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Math.floor(performance.timeOrigin + performance.now()),
  wallNow: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
