/** WorkflowStore on Postgres. */
import { and, asc, desc, eq, gt, isNull, type SQL, sql } from "drizzle-orm";
import { drizzle, type NodePgDatabase } from "drizzle-orm/node-postgres";
import type { Pool } from "../../db/pool.ts";
import { workflow } from "../../db/schema.ts";
import { deleteParts, deleteRegistered, hideEntries } from "../../db/statements/delete-tree.ts";
import type { WorkflowIdentity } from "../core/access.ts";
import { limits } from "../core/limits.ts";
import type {
  DeletedTree,
  Workflow,
  WorkflowListFilter,
  WorkflowPage,
  WorkflowStore,
} from "../core/registry.ts";

export function createPgWorkflowStore(pool: Pool): WorkflowStore {
  const db = drizzle(pool);
  return {
    async find(workflowId) {
      const [row] = await db.select().from(workflow).where(eq(workflow.workflowId, workflowId)).limit(1);
      return row && toWorkflow(row);
    },
    list: (tenant, filter, size, after) => list(db, tenant, filter, size, after),
    async listTree(top, size, afterOffset) {
      const rows = await db
        .select()
        .from(workflow)
        .where(
          and(
            eq(workflow.streamId, top.streamId),
            gt(workflow.createdOffset, afterOffset),
            sql`${workflow.path} @> array[${top.workflowId}::uuid]`,
          ),
        )
        // A child is created after its parent in the same stream.
        .orderBy(asc(workflow.createdOffset))
        .limit(size + 1);
      const page = cutWorkflows(rows, size);
      return {
        workflows: page.map(toWorkflow),
        nextOffset: rows.length > page.length ? page.at(-1)?.createdOffset : undefined,
      };
    },
    deleteTree: (root) => deleteTree(pool, root),
  };
}

async function list(
  db: NodePgDatabase,
  tenant: string,
  filter: WorkflowListFilter,
  size: number,
  after: WorkflowPage["next"],
): Promise<WorkflowPage> {
  const conditions: (SQL | undefined)[] = [
    eq(workflow.tenantSlug, tenant),
    filter.status === undefined ? undefined : eq(workflow.status, filter.status),
    filter.parentWorkflowId === undefined
      ? undefined
      : eq(workflow.parentWorkflowId, filter.parentWorkflowId),
    filter.rootsOnly ? isNull(workflow.parentWorkflowId) : undefined,
    // strpos, not like: the text may hold % and _.
    filter.nameContains === "" ? undefined : sql`strpos(${workflow.name}, ${filter.nameContains}) > 0`,
    after &&
      sql`(${workflow.createdMs}, ${workflow.workflowId}) < (${after.createdMs}, ${after.workflowId}::uuid)`,
  ];
  const rows = await db
    .select()
    .from(workflow)
    .where(and(...conditions))
    .orderBy(desc(workflow.createdMs), desc(workflow.workflowId))
    .limit(size + 1);
  const page = cutWorkflows(rows, size);
  const last = page.at(-1);
  return {
    workflows: page.map(toWorkflow),
    next:
      rows.length > page.length && last !== undefined
        ? { createdMs: last.createdMs, workflowId: last.workflowId }
        : undefined,
  };
}

/**
 * First the floor is raised over everything, so that a reader in the middle of history is told of a gap instead of
 * missing something silently; then what is large goes in small batches; then the rest in one transaction.
 */
async function deleteTree(pool: Pool, { streamId }: WorkflowIdentity): Promise<DeletedTree> {
  const hidden = await hideEntries(pool, streamId);
  if (typeof hidden === "string") return hidden;
  await deleteParts(pool, streamId);
  await deleteRegistered(pool, streamId);
  return hidden;
}

/** A page: at most `size` workflows and 1 MiB; one larger may stand alone. */
export function cutWorkflows<R extends { name: string; metadata: object }>(
  rows: readonly R[],
  size: number,
): R[] {
  let bytes = 0;
  const fits = (row: R, i: number) => {
    bytes += 300 + Buffer.byteLength(row.name) + Buffer.byteLength(JSON.stringify(row.metadata));
    return i === 0 || bytes <= limits.batchBytes;
  };
  const end = rows.findIndex((row, i) => !fits(row, i));
  return rows.slice(0, Math.min(size, end === -1 ? size : end));
}

function toWorkflow(row: typeof workflow.$inferSelect): Workflow {
  return {
    workflowId: row.workflowId,
    tenant: row.tenantSlug,
    streamId: row.streamId,
    path: row.path,
    parentWorkflowId: row.parentWorkflowId ?? undefined,
    name: row.name,
    metadata: row.metadata,
    depth: row.depth,
    status: row.status,
    createdMs: row.createdMs,
    closedMs: row.closedMs ?? undefined,
    cancelRequestedMs: row.cancelRequestedMs ?? undefined,
    terminalOffset: row.terminalOffset ?? undefined,
    openInSubtree: row.openInSubtree,
    retentionMaxAgeMs: row.retentionMaxAgeMs ?? undefined,
    retentionMaxEvents: row.retentionMaxEvents ?? undefined,
  };
}
