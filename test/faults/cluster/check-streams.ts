/** What must be true of the tables by themselves: no hole, nothing after an end, each workflow and its ends once. */

import { EventType } from "../../../gen/tributary/v1/event_pb.ts";
import { isTaskTerminal, isWorkflowTerminal } from "../../../server/core/event.ts";
import type { Forest } from "./forest.ts";
import type { Truth } from "./truth.ts";

export function checkStreams(truth: Truth, forest: Forest): string[] {
  const problems: string[] = [];
  for (const { id, tenant, root, tail, rows } of truth.streams) {
    const who = root === undefined ? `space of ${tenant}` : `tree ${root}`;
    if (rows.length !== tail || rows.some(({ offset }, i) => offset !== i + 1)) {
      const hole = rows.findIndex(({ offset }, i) => offset !== i + 1);
      problems.push(`${who}: ${rows.length} rows up to ${tail}, first hole before row ${hole} (${id})`);
    }
    const created = new Set<string>();
    const cancelled = new Set<string>();
    const ended = new Set<string>();
    for (const { offset, workflowId, task, type } of rows) {
      if (root === undefined) continue;
      const branch = forest.branches.get(workflowId);
      if (branch === undefined && !forest.doubtful.has(workflowId))
        problems.push(`${who}: offset ${offset} is of workflow ${workflowId}, which nobody made`);
      if (branch !== undefined && branch.tenant !== tenant)
        problems.push(`${who} of ${tenant}: offset ${offset} is of ${branch.tenant}`);
      if (ended.has(workflowId)) problems.push(`${who}: offset ${offset} after the end of ${workflowId}`);
      if (task !== "" && ended.has(`${workflowId} ${task}`))
        problems.push(`${who}: offset ${offset} after the end of task ${task}`);
      if (isTaskTerminal(type)) ended.add(`${workflowId} ${task}`);
      if (isWorkflowTerminal(type)) ended.add(workflowId);
      if (type === EventType.WORKFLOW_CREATED) {
        if (created.has(workflowId)) problems.push(`${who}: ${workflowId} was created twice`);
        created.add(workflowId);
      } else if (!created.has(workflowId)) {
        problems.push(`${who}: offset ${offset} before the creation of ${workflowId}`);
      }
      if (type !== EventType.CANCEL_REQUESTED) continue;
      if (cancelled.has(workflowId) || branch?.cancelled === false)
        problems.push(`${who}: offset ${offset}: a cancellation twice, or that nobody asked for`);
      cancelled.add(workflowId);
    }
  }
  for (const { id } of forest.branches.values())
    if (!truth.workflows.has(id)) problems.push(`workflow ${id} was made and is not there`);
  return problems;
}
