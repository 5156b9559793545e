/** The same tree seen in three scopes: one task, one workflow, everything. Run: `node examples/follow-scopes.ts` */
import { EventType, EventTypeSchema, type FollowItem, WorkflowStatus } from "tributary/client";
import { client } from "./connect.ts";

const { workflow: root } = await client.workflows.createWorkflow({ name: "root" });
const workflowId = root?.workflowId ?? "";

// region follow
// Each ends by itself: with the task's terminal event, with the workflow, with the last workflow of the tree.
const scopes = {
  task: client.followTask(workflowId, "writer", { types: [EventType.TOKEN] }),
  workflow: client.follow(workflowId),
  tree: client.followTree(workflowId, { latest: true }),
};

async function show(scope: string, items: AsyncIterable<FollowItem>): Promise<string> {
  const seen: string[] = [];
  for await (const item of items) {
    if (item.kind === "events")
      seen.push(...item.events.map(({ type }) => EventTypeSchema.value[type]?.localName ?? String(type)));
    if (item.kind === "gap") seen.push(`lost ${item.gap.fromOffset}–${item.gap.toOffset}`);
    if (item.kind === "ended") seen.push(`ended at ${item.ended.finalOffset}`);
  }
  return `${scope}: ${seen.join(" ")}`;
}
// endregion

const opened = Promise.withResolvers<void>();
async function* announced(items: AsyncIterable<FollowItem>) {
  for await (const item of items) {
    if (item.kind === "opened") opened.resolve();
    yield item;
  }
}
const shown = Promise.all([
  show("task", scopes.task),
  show("workflow", scopes.workflow),
  show("tree", announced(scopes.tree)),
]);
await opened.promise; // with `latest`, only what comes from here on is seen

// A child that starts later is part of the tree's stream, and of no other one above.
const { workflow: child } = await client.workflows.createWorkflow({
  name: "child",
  parentWorkflowId: workflowId,
});
for (const [id, task, type] of [
  [workflowId, "writer", EventType.TOKEN],
  [child?.workflowId ?? "", "helper", EventType.DATA],
  [workflowId, "writer", EventType.COMPLETED],
] as const) {
  await client.tasks.streamTaskData({
    workflowExecutionId: id,
    taskExecutionId: task,
    type,
    payload: "{}",
    waitForDurable: true,
  });
}
await client.workflows.closeWorkflow({
  workflowId,
  status: WorkflowStatus.COMPLETED,
  closeDescendants: true,
});

for (const line of await shown) console.log(line);
