/** WorkflowStore on Postgres. */
import { and, asc, desc, eq, gt, isNull, type SQL, sql } from "drizzle-orm";
import { drizzle, type NodePgDatabase } from "drizzle-orm/node-postgres";
import type { Pool } from "../../db/pool.ts";
import { event, stream, streamFloor, workflow } from "../../db/schema.ts";
import type { WorkflowIdentity } from "../core/access.ts";
import { limits } from "../core/limits.ts";
import type { Workflow, WorkflowListFilter, WorkflowPage, WorkflowStore } from "../core/registry.ts";

/** Events deleted in one statement: small, so that neither locks nor the log grow long. */
const deleteBatch = 5000;

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
    deleteTree: (root) => deleteTree(db, root),
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
 * missing something silently; then the events go in small batches; then the rest in one transaction. A crash in between
 * leaves a closed, empty tree, and the next call ends the work.
 */
async function deleteTree(db: NodePgDatabase, root: WorkflowIdentity): Promise<number | undefined> {
  const [top] = await db
    .select({ open: workflow.openInSubtree, nextOffset: stream.nextOffset })
    .from(workflow)
    .innerJoin(stream, eq(stream.streamId, workflow.streamId))
    .where(eq(workflow.workflowId, root.workflowId));
  if (top === undefined) return 0;
  if (top.open > 0) return undefined;
  await db
    .insert(streamFloor)
    .values({ streamId: root.streamId, floorOffset: top.nextOffset - 1 })
    .onConflictDoUpdate({ target: streamFloor.streamId, set: { floorOffset: top.nextOffset - 1 } });
  let deleted = 0;
  for (;;) {
    const { rowCount } = await db.execute(sql`
      delete from ${event} where ${event.streamId} = ${root.streamId} and ${event.offset} in (
        select ${event.offset} from ${event} where ${event.streamId} = ${root.streamId}
         order by ${event.offset} limit ${deleteBatch})`);
    deleted += rowCount ?? 0;
    if ((rowCount ?? 0) < deleteBatch) break;
  }
  await db.transaction(async (tx) => {
    await tx.execute(sql`select from ${stream} where ${stream.streamId} = ${root.streamId} for update`);
    await tx.delete(workflow).where(eq(workflow.streamId, root.streamId));
    await tx.delete(stream).where(eq(stream.streamId, root.streamId));
  });
  return deleted;
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
