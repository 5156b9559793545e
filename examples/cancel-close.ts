/** Asks a worker to stop, lets it tidy up, closes the tree and deletes it. Run: `node examples/cancel-close.ts` */
import { EventType, WorkflowStatus } from "tributary/client";
import { client } from "./connect.ts";

const { workflow } = await client.workflows.createWorkflow({ name: "long work" });
const workflowId = workflow?.workflowId ?? "";
await client.workflows.createWorkflow({ name: "part of it", parentWorkflowId: workflowId });

// region worker
/** Each answer to StreamTaskData tells whether somebody asked this workflow to stop. */
async function work(): Promise<void> {
  const event = { workflowExecutionId: workflowId, taskExecutionId: "worker", waitForDurable: true };
  for (let step = 1; ; step += 1) {
    const payload = JSON.stringify({ progress: Math.min(step / 100, 1) });
    const { cancelRequested } = await client.tasks.streamTaskData({
      ...event,
      type: EventType.PROGRESS,
      payload,
    });
    if (!cancelRequested) continue;
    await client.tasks.streamTaskData({ ...event, type: EventType.CANCELLED, payload: "" });
    return;
  }
}
// endregion

const working = work();

// region cancel
// Asking changes nothing by itself: the workers decide. A second request does not make a second event.
const { workflow: asked } = await client.workflows.requestCancel({ workflowId, reason: "not needed" });
console.log(
  "asked:",
  asked?.cancelRequestedMs !== 0n,
  "still open:",
  asked?.status === WorkflowStatus.RUNNING,
);
await working;

const closed = await client.workflows.closeWorkflow({
  workflowId,
  status: WorkflowStatus.CANCELLED,
  payload: JSON.stringify({ by: "example" }),
  closeDescendants: true, // else open children stay open, and consolidated streams with them
});
console.log("open after it:", closed.workflow?.openInSubtree);
// endregion

// region delete
// Needs a key with MANAGE. Only a closed tree, only as a whole, and for good.
const { deletedEvents } = await client.workflows.deleteWorkflowTree({ workflowId });
console.log("deleted events:", deletedEvents > 0n);
// endregion
