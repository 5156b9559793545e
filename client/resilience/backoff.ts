/**
 * Waiting before the next attempt: exponential with full jitter, so that the readers of a server that comes back do not
 * come all at once, and with a cap, so that nobody waits long for a server that was away long.
 */
export interface Backoff {
  /** The longest first wait, ms. Default 200. */
  readonly firstMs: number;
  /** No wait is longer, ms. Default 5000. */
  readonly longestMs: number;
}

export const defaultBackoff: Backoff = { firstMs: 200, longestMs: 5000 };

/** After so many failures in a row, 1 or more. */
export function backoffMs(
  failures: number,
  random: () => number = Math.random,
  { firstMs, longestMs }: Backoff = defaultBackoff,
): number {
  return Math.round(random() * Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 20)));
}
