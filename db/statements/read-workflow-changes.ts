/**
 * What was committed in a tenant's registry since a snapshot of Postgres was taken: exactly that, however long its
 * transaction was open, and nothing twice. A transaction is not in a snapshot if it is not older than its xmax, or was open
 * then (its xip): both are looked up by the index, so a transaction that stays open makes this no slower.
 *
 * More than a page is read in a round: the first page's snapshot bounds all of it, so that what changes meanwhile, and
 * leaves its place, is found by the next round. Its xmax bounds the index scan: beyond it may lie a whole registry that came
 * from another cluster's dump. A round tells all its deletions before its first change, so that what was deleted and
 * made anew in it is told in that order.
 */
import type { Queryable } from "../pool.ts";

export interface ChangedWorkflowRow {
  readonly changedXid: string;
  readonly workflowId: string;
  readonly tenant: string;
  readonly streamId: string;
  readonly parentWorkflowId: string | null;
  readonly path: readonly string[];
  readonly depth: number;
  readonly name: string;
  readonly metadata: Record<string, string>;
  readonly status: number;
  readonly createdMs: number;
  readonly closedMs: number | null;
  readonly cancelRequestedMs: number | null;
  readonly terminalOffset: number | null;
  readonly openInSubtree: number;
  readonly retentionMaxAgeMs: number | null;
  readonly retentionMaxEvents: number | null;
}

export interface WorkflowDeletionRow {
  readonly deletionId: number;
  readonly deletedXid: string;
  readonly rootWorkflowId: string;
  readonly workflowIds: readonly string[];
}

export interface WorkflowChangesRequest {
  readonly tenant: string;
  readonly rootsOnly: boolean;
  /** The snapshot since which, as Postgres writes it. */
  readonly since: string;
  /** That of the round's first page; undefined: this is it. */
  readonly upTo: string | undefined;
  readonly afterXid: string;
  readonly afterWorkflowId: string;
  readonly afterDeletionId: number;
  readonly changes: number;
  readonly deletions: number;
}

export interface WorkflowChangesRows {
  /** What bounds this round. */
  readonly snapshot: string;
  readonly nowMs: number;
  /** Is `since` of a database that came before this one: was it put back to an older state? */
  readonly beforeRestore: boolean;
  /** None as long as `deleted` is a full page. */
  readonly changed: readonly ChangedWorkflowRow[];
  readonly deleted: readonly WorkflowDeletionRow[];
}

const columns = `w.changed_xid::text as "changedXid", w.workflow_id as "workflowId", w.tenant_slug as tenant,
  w.stream_id as "streamId", w.parent_workflow_id as "parentWorkflowId", w.path, w.depth, w.name, w.metadata, w.status,
  w.created_ms as "createdMs", w.closed_ms as "closedMs", w.cancel_requested_ms as "cancelRequestedMs",
  w.terminal_offset as "terminalOffset", w.open_in_subtree as "openInSubtree",
  w.retention_max_age_ms as "retentionMaxAgeMs", w.retention_max_events as "retentionMaxEvents"`;

const nowMs = "(extract(epoch from clock_timestamp()) * 1000)::bigint";

export async function readWorkflowChanges(
  db: Queryable,
  request: WorkflowChangesRequest,
): Promise<WorkflowChangesRows> {
  const snapshot = "(select snapshot from round)";
  const isBetween = (xid: string) =>
    `(${xid} >= pg_snapshot_xmax($3::pg_snapshot) and ${xid} < pg_snapshot_xmax(${snapshot}))`;
  const wasOpen = (xid: string) => `${xid} = any (array(select pg_snapshot_xip($3::pg_snapshot)))`;
  const part = (isChanged: string) => `(
    select w.* from workflow w
     where w.tenant_slug = $1 and ${isChanged} and (w.changed_xid, w.workflow_id) > ($5::xid8, $6::uuid)
       and pg_visible_in_snapshot(w.changed_xid, ${snapshot}) and (not $2 or w.parent_workflow_id is null)
     order by w.changed_xid, w.workflow_id limit (select changes from room))`;
  const { rows } = await db.query({
    name: "read_workflow_changes",
    text: `
      with round as materialized (select coalesce($4::pg_snapshot, pg_current_snapshot()) as snapshot),
           deletion as materialized (
             select * from workflow_deletion
              where tenant_slug = $1 and deletion_id > $7
                and (${isBetween("deleted_xid")} or ${wasOpen("deleted_xid")})
                and pg_visible_in_snapshot(deleted_xid, ${snapshot})
              order by deletion_id limit $9),
           room as (select case when count(*) < $9 then $8 else 0 end as changes from deletion)
      select round.snapshot::text as snapshot, ${nowMs} as now_ms,
             pg_snapshot_xmax(pg_current_snapshot()) < pg_snapshot_xmax($3::pg_snapshot) as before_restore,
             (select coalesce(json_agg(c), '[]') from (
                select ${columns}
                  from (${part(isBetween("w.changed_xid"))} union all ${part(wasOpen("w.changed_xid"))}) as w
                 order by w.changed_xid, w.workflow_id limit $8) as c) as changed,
             (select coalesce(json_agg(d order by d."deletionId"), '[]') from (
                select deletion_id as "deletionId", deleted_xid::text as "deletedXid",
                       root_workflow_id as "rootWorkflowId",
                       case when $2 then array[root_workflow_id] else workflow_ids end as "workflowIds"
                  from deletion) as d) as deleted
        from round`,
    values: [
      request.tenant,
      request.rootsOnly,
      request.since,
      request.upTo ?? null,
      request.afterXid,
      request.afterWorkflowId,
      request.afterDeletionId,
      request.changes,
      request.deletions,
    ],
  });
  const [row] = rows;
  return {
    snapshot: row.snapshot,
    nowMs: Number(row.now_ms),
    beforeRestore: row.before_restore,
    changed: row.changed,
    deleted: row.deleted,
  };
}

export interface NewestWorkflowsRequest {
  readonly tenant: string;
  readonly rootsOnly: boolean;
  /** That of the first page: what was changed since is left out. undefined: this is the first page. */
  readonly asOf: string | undefined;
  readonly before: { readonly createdMs: number; readonly workflowId: string } | undefined;
  readonly limit: number;
}

/** The newest workflows, with the snapshot in which they were read. */
export async function readNewestWorkflows(
  db: Queryable,
  request: NewestWorkflowsRequest,
): Promise<{ snapshot: string; nowMs: number; workflows: readonly ChangedWorkflowRow[] }> {
  const { before } = request;
  const { rows } = await db.query({
    name: `read_newest_workflows${request.rootsOnly ? "_roots" : ""}`,
    text: `
      select pg_current_snapshot()::text as snapshot, ${nowMs} as now_ms,
             (select coalesce(json_agg(n), '[]') from (
                select ${columns} from workflow w
                 where w.tenant_slug = $1 ${request.rootsOnly ? "and w.parent_workflow_id is null" : ""}
                   and (w.created_ms, w.workflow_id) < ($2::bigint, $3::uuid)
                   -- Numbers of another database (a restore from a dump) are in no snapshot, yet nobody changes these.
                   and ($4::pg_snapshot is null or pg_visible_in_snapshot(w.changed_xid, $4::pg_snapshot)
                        or w.changed_xid >= pg_snapshot_xmax(pg_current_snapshot()))
                 order by w.created_ms desc, w.workflow_id desc limit $5) as n) as workflows`,
    values: [
      request.tenant,
      before?.createdMs ?? Number.MAX_SAFE_INTEGER,
      before?.workflowId ?? "ffffffff-ffff-ffff-ffff-ffffffffffff",
      request.asOf ?? null,
      request.limit,
    ],
  });
  const [row] = rows;
  return { snapshot: row.snapshot, nowMs: Number(row.now_ms), workflows: row.workflows };
}
