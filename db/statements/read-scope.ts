/** Where a stream and one workflow (and task) of it stand, or a space, in one statement and so in one snapshot. */
import type { Queryable } from "../pool.ts";

export interface ScopeRow {
  readonly epoch: number;
  readonly tailOffset: number;
  readonly floorOffset: number;
  readonly status: number;
  readonly openInSubtree: number;
  readonly terminalOffset: number | undefined;
  readonly subtreeFinalOffset: number | undefined;
  readonly taskTerminalType: number | undefined;
  readonly taskTerminalOffset: number | undefined;
}

export async function readScope(
  db: Queryable,
  streamId: string,
  workflowId: string,
  taskExecutionId: string,
): Promise<ScopeRow | undefined> {
  const { rows } = await db.query({
    name: "read_scope",
    text: `select s.epoch, s.next_offset - 1 as tail_offset, coalesce(f.floor_offset, 0) as floor_offset,
                  w.status, w.open_in_subtree, w.terminal_offset, w.subtree_final_offset,
                  t.terminal_type as task_terminal_type, t.terminal_offset as task_terminal_offset
             from stream s left join stream_floor f using (stream_id)
             join workflow w on w.stream_id = s.stream_id and w.workflow_id = $2
             left join task t on t.workflow_id = w.workflow_id and t.task_execution_id = $3
            where s.stream_id = $1`,
    values: [streamId, workflowId, taskExecutionId],
  });
  const row = rows[0];
  if (row === undefined) return undefined;
  const optional = (value: string | null) => (value === null ? undefined : Number(value));
  return {
    epoch: Number(row.epoch),
    tailOffset: Number(row.tail_offset),
    floorOffset: Number(row.floor_offset),
    status: row.status,
    openInSubtree: row.open_in_subtree,
    terminalOffset: optional(row.terminal_offset),
    subtreeFinalOffset: optional(row.subtree_final_offset),
    taskTerminalType: row.task_terminal_type ?? undefined,
    taskTerminalOffset: optional(row.task_terminal_offset),
  };
}

/** As `readScope` for a stream without workflows: it never ends. */
export async function readSpaceScope(db: Queryable, streamId: string): Promise<ScopeRow | undefined> {
  const { rows } = await db.query({
    name: "read_space_scope",
    text: `select s.epoch, s.next_offset - 1 as tail_offset, coalesce(f.floor_offset, 0) as floor_offset
             from stream s left join stream_floor f using (stream_id) where s.stream_id = $1 and s.kind = 2`,
    values: [streamId],
  });
  const row = rows[0];
  if (row === undefined) return undefined;
  return {
    epoch: Number(row.epoch),
    tailOffset: Number(row.tail_offset),
    floorOffset: Number(row.floor_offset),
    status: 1,
    openInSubtree: 1,
    terminalOffset: undefined,
    subtreeFinalOffset: undefined,
    taskTerminalType: undefined,
    taskTerminalOffset: undefined,
  };
}
