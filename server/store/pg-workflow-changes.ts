/** WorkflowChangeStore on Postgres: a moment is a snapshot as Postgres writes it, "xmin:xmax:xip,xip,…". */
import type { Pool } from "../../db/pool.ts";
import {
  type ChangedWorkflowRow,
  readNewestWorkflows,
  readWorkflowChanges,
} from "../../db/statements/read-workflow-changes.ts";
import { noWorkflow } from "../core/event.ts";
import type { Workflow } from "../core/registry.ts";
import type { Change, ChangePage, ChangePosition, WorkflowChangeStore } from "../core/watch/change-store.ts";
import { cutWorkflows } from "./pg-workflow-store.ts";
import { reading } from "./store-errors.ts";

/** Deletions are kept for 15 minutes (0006_variables_and_registry.sql): whoever asks for so much less misses none. */
const rememberedMs = 10 * 60 * 1000;
const pageChanges = 500;
const pageDeletions = 20;
const before = { transaction: "0", workflowId: noWorkflow, deletionId: 0 };

export function createPgWorkflowChanges(pool: Pool): WorkflowChangeStore {
  return {
    async readNewest({ tenant, rootsOnly, size, asOf, before: last }) {
      const limit = size + 1;
      const found = await reading(() =>
        readNewestWorkflows(pool, { tenant, rootsOnly, asOf, before: last, limit }),
      );
      const page = cutWorkflows(found.workflows, size);
      return {
        workflows: page.map(toWorkflow),
        more: found.workflows.length > page.length,
        now: { since: found.snapshot, sinceMs: found.nowMs, round: undefined },
      };
    },
    readChanges: (tenant, rootsOnly, position) => readChanges(pool, tenant, rootsOnly, position),
    includes: (moment, transaction) => includes(parse(moment), Number(transaction)),
    isCovered: (moment, later) => isCovered(parse(moment), parse(later)),
  };
}

async function readChanges(
  pool: Pool,
  tenant: string,
  rootsOnly: boolean,
  { since, sinceMs, round }: ChangePosition,
): Promise<ChangePage | undefined> {
  const found = await reading(() =>
    readWorkflowChanges(pool, {
      tenant,
      rootsOnly,
      since,
      upTo: round?.upTo,
      afterXid: round?.afterTransaction ?? before.transaction,
      afterWorkflowId: round?.afterWorkflowId ?? before.workflowId,
      afterDeletionId: round?.afterDeletionId ?? before.deletionId,
      changes: pageChanges,
      deletions: pageDeletions,
    }),
  );
  if (found.beforeRestore || found.nowMs - sinceMs > rememberedMs) return undefined;
  const changed = cutWorkflows(found.changed, pageChanges);
  const complete =
    found.deleted.length < pageDeletions &&
    found.changed.length === changed.length &&
    changed.length < pageChanges;
  const upToMs = round?.upToMs ?? found.nowMs;
  return {
    changes: [
      ...found.deleted.map((row) => ({ kind: "deleted" as const, ...row, transaction: row.deletedXid })),
      ...changed.map(toChange),
    ],
    next: complete
      ? { since: found.snapshot, sinceMs: upToMs, round: undefined }
      : {
          since,
          sinceMs,
          round: {
            upTo: found.snapshot,
            upToMs,
            afterTransaction: changed.at(-1)?.changedXid ?? round?.afterTransaction ?? before.transaction,
            afterWorkflowId: changed.at(-1)?.workflowId ?? round?.afterWorkflowId ?? before.workflowId,
            afterDeletionId: found.deleted.at(-1)?.deletionId ?? round?.afterDeletionId ?? before.deletionId,
          },
        },
    complete,
  };
}

const toChange = (row: ChangedWorkflowRow): Change => ({
  kind: "changed",
  workflow: toWorkflow(row),
  transaction: row.changedXid,
});

function toWorkflow({ changedXid: _, ...row }: ChangedWorkflowRow): Workflow {
  return {
    ...row,
    parentWorkflowId: row.parentWorkflowId ?? undefined,
    closedMs: row.closedMs ?? undefined,
    cancelRequestedMs: row.cancelRequestedMs ?? undefined,
    terminalOffset: row.terminalOffset ?? undefined,
    retentionMaxAgeMs: row.retentionMaxAgeMs ?? undefined,
    retentionMaxEvents: row.retentionMaxEvents ?? undefined,
  };
}

interface Snapshot {
  readonly xmax: number;
  readonly open: readonly number[];
}

/** Transaction numbers stay far below 2^53. */
function parse(moment: string): Snapshot {
  const [, xmax = "", xip = ""] = moment.split(":");
  return { xmax: Number(xmax), open: xip === "" ? [] : xip.split(",").map(Number) };
}

const isCovered = (moment: Snapshot, later: Snapshot) =>
  later.xmax >= moment.xmax && !later.open.some((transaction) => includes(moment, transaction));

const includes = ({ xmax, open }: Snapshot, transaction: number) =>
  transaction < xmax && !open.includes(transaction);
