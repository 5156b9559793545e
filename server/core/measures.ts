/**
 * What is worth a distribution and not only a sum. A port: core says what happened, at most once for a commit, an ack or a
 * message; server/metrics keeps the histograms. Commits and acks are timed by `performance.now`, since the clock of core counts
 * whole ms; nothing is decided by it.
 */
export type Measure =
  /** Entries of a group commit. */
  | "commitEntries"
  /** From the sending of a group to the answer of its commit, seconds. */
  | "commitSeconds"
  /** From the arrival of a session's oldest batch that a DURABLE ack covers to that ack, seconds. */
  | "ackSeconds"
  /** From the commit of the oldest event of a message to its giving to a reader that was there by then, seconds. */
  | "deliverySeconds";

export interface Measures {
  observe(measure: Measure, value: number): void;
}

export const noMeasures: Measures = { observe: () => {} };
