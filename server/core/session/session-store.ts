/** What is known of sessions beside their streams: who they belong to, whether they live. Taking and ending goes by `append`. */
import type { WorkflowKey } from "../access.ts";

export interface SessionRecord {
  readonly sessionId: string;
  readonly tenant: string;
  readonly streamId: string;
  readonly workflowId: string | undefined;
  /** Of observations: the name of its memory space. */
  readonly space: string | undefined;
  /** As of the last renewal. */
  readonly state: number;
  readonly lastSequence: number;
  readonly epoch: number;
  readonly createdMs: number;
  readonly lastActivityMs: number;
  readonly leaseExpiresMs: number;
  /** Number of tributary.v1.SessionClosedReason; undefined: not closed. */
  readonly closedReason: number | undefined;
}

export interface SessionFilter {
  /** undefined: of all tenants. */
  readonly tenant: string | undefined;
  readonly state: number | undefined;
  readonly sessionId: string | undefined;
}

export interface SessionPage {
  readonly sessions: readonly SessionRecord[];
  /** undefined: the last page. */
  readonly next: { readonly createdMs: number; readonly sessionId: string } | undefined;
}

export interface SessionStore {
  find(sessionId: string): Promise<SessionRecord | undefined>;
  /** Newest first, after the given one. */
  list(filter: SessionFilter, size: number, after: SessionPage["next"]): Promise<SessionPage>;
  /**
   * Renews the leases of these connections' sessions. Returns those that are not theirs any more, with the reason if they
   * are closed (a number of tributary.v1.SessionClosedReason); undefined: another connection has them.
   */
  renew(
    attached: readonly { readonly sessionId: string; readonly epoch: number; readonly state: number }[],
    leaseMs: number,
  ): Promise<readonly { readonly sessionId: string; readonly closedReason: number | undefined }[]>;
  /** Which of these workflows were asked to stop and are still open. */
  pendingCancels(
    workflowIds: readonly string[],
  ): Promise<readonly (WorkflowKey & { readonly reason: string })[]>;
  /** No connection holds it any more, and the lease begins anew. false: another connection does, or it is closed. */
  detach(sessionId: string, epoch: number, leaseMs: number): Promise<boolean>;
  /** Closes those whose lease is over, and returns them. */
  expire(): Promise<readonly Pick<SessionRecord, "sessionId" | "tenant" | "workflowId" | "space">[]>;
}
