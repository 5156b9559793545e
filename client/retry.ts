/**
 * Waiting before the next attempt: exponential with full jitter, so that the readers of a server that comes back do not
 * come all at once, and with a cap, so that nobody waits long for a server that was away long.
 */
const firstMs = 200;
const longestMs = 5000;

/** After so many failures in a row, 1 or more. */
export function backoffMs(failures: number, random: () => number): number {
  return Math.round(random() * Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 20)));
}

/** Resolves after the time, or at once with the signal. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
  });
}
