/**
 * What this instance counts beside the sums of its tenants (traffic.ts): plain numbers that only grow, for whoever asks
 * (server/metrics). All keys exist from the start, so that what never happened reads 0, and there can never be more of them.
 */
import type { StoreFailure } from "./ports.ts";
import { RejectionCode } from "./session/rejection.ts";

type Lower = Lowercase<keyof typeof RejectionCode>;

/** Why a writer was refused: the codes of sessions, and what calls outside them hear. */
export type RejectionReason = Lower | "workflow_unknown" | "unstorable" | "unavailable";

/** The limits of a tenant, by their names in TenantLimits. */
export type Quota =
  | "max_streams"
  | "max_sessions"
  | "max_events_per_second"
  | "max_bytes_per_second"
  | "max_open_workflows";

export interface Counts {
  /** Entries given to readers that stand for others, and those others. */
  conflated: number;
  replaced: number;
  /** Entries given to readers that were read from the store. */
  replayed: number;
  /** Messages to readers that came from a window, and pages that had to be read from the store. */
  windowHits: number;
  storeReads: number;
  /** Accepted events that could not be stored. */
  dropped: number;
  /** Times that entries were found which no notice had told of: by a later notice, or by the tail check. */
  readonly healed: { notice: number; tail_check: number };
  readonly rejections: Record<RejectionReason, number>;
  readonly quotas: Record<Quota, number>;
  /** Group commits that failed; what is in them is tried again, split, or answered. */
  readonly commitFailures: Record<StoreFailure, number>;
}

const reasons = new Map<number, Lower>(
  Object.entries(RejectionCode).map(([name, code]) => [code, name.toLowerCase() as Lower]),
);

export const createCounts = (): Counts => ({
  conflated: 0,
  replaced: 0,
  replayed: 0,
  windowHits: 0,
  storeReads: 0,
  dropped: 0,
  healed: { notice: 0, tail_check: 0 },
  rejections: {
    ...(Object.fromEntries([...reasons.values()].map((reason) => [reason, 0])) as Record<Lower, number>),
    workflow_unknown: 0,
    unstorable: 0,
    unavailable: 0,
  },
  quotas: {
    max_streams: 0,
    max_sessions: 0,
    max_events_per_second: 0,
    max_bytes_per_second: 0,
    max_open_workflows: 0,
  },
  commitFailures: { poisoned: 0, busy: 0, away: 0, unknown: 0 },
});

/** A session was told so. */
export function countRejection(counts: Counts, code: number): void {
  const reason = reasons.get(code);
  if (reason !== undefined) counts.rejections[reason]++;
}
