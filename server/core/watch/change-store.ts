/**
 * What changed in a tenant's registry, in the order of commits. A `Moment` is a point in that order as the database knows
 * it: exactly the transactions that were committed then. Asking for what came since a moment gives exactly that, however
 * long a transaction was open before it committed; no clock is involved.
 */
import type { Workflow } from "../registry.ts";

/** Opaque: of the store that gave it. */
export type Moment = string;

export interface ChangedWorkflow {
  readonly kind: "changed";
  /** As it is now. */
  readonly workflow: Workflow;
  /** The transaction of its last change; see `includes`. */
  readonly transaction: string;
}

export interface DeletedWorkflows {
  readonly kind: "deleted";
  readonly rootWorkflowId: string;
  /** Of one tree, at most 1,000; with `rootsOnly` the root's. */
  readonly workflowIds: readonly string[];
  readonly transaction: string;
}

export type Change = ChangedWorkflow | DeletedWorkflows;

/** Where a reader of changes is. Opaque but for the times. */
export interface ChangePosition {
  readonly since: Moment;
  /** When `since` was now, ms by the database's clock. */
  readonly sinceMs: number;
  /** In the middle of a round of pages: what bounds it, and where it is. */
  readonly round:
    | {
        readonly upTo: Moment;
        readonly upToMs: number;
        readonly afterTransaction: string;
        readonly afterWorkflowId: string;
        readonly afterDeletionId: number;
      }
    | undefined;
}

export interface ChangePage {
  /** All deletions of a round come before its changes. The newest state of each workflow; none of the states between. */
  readonly changes: readonly Change[];
  readonly next: ChangePosition;
  /** Was that all, up to `next.since`? */
  readonly complete: boolean;
}

export interface WorkflowChangeStore {
  /** Newest first, after the given one. `asOf`: the first page's; what was changed since is left out of further ones. */
  readNewest(request: {
    readonly tenant: string;
    readonly rootsOnly: boolean;
    readonly size: number;
    readonly asOf: Moment | undefined;
    readonly before: { readonly createdMs: number; readonly workflowId: string } | undefined;
  }): Promise<{
    readonly workflows: readonly Workflow[];
    readonly more: boolean;
    readonly now: ChangePosition;
  }>;
  /**
   * What changed since. undefined: that cannot be told any more, because it is longer ago than deletions are remembered
   * (10 minutes), or because the database was restored meanwhile.
   */
  readChanges(tenant: string, rootsOnly: boolean, position: ChangePosition): Promise<ChangePage | undefined>;
  /** Had the transaction been committed at that moment? */
  includes(moment: Moment, transaction: string): boolean;
  /** Is everything that `moment` includes included in `later` too? */
  isCovered(moment: Moment, later: Moment): boolean;
}
