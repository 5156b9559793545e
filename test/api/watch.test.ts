/** WatchWorkflows, on one instance. */
import { expect, test } from "vitest";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { useServer } from "../support/server.ts";
import { Watching } from "../watch/watching.ts";

const server = useServer();

test("a smoke", async () => {
  const { workflows } = server.acme;
  const { workflow: a } = await workflows.createWorkflow({ name: "a" });
  await using watch = new Watching(workflows);
  await watch.live();
  expect(watch.ids).toEqual([a?.workflowId]);
  const { workflow: b } = await workflows.createWorkflow({ name: "b", parentWorkflowId: a?.workflowId ?? "" });
  await watch.until(() => expect(watch.known.get(b?.workflowId ?? "")).toMatchObject({ name: "b" }));
  expect(watch.known.get(a?.workflowId ?? "")?.openInSubtree).toBe(2);
  await workflows.closeWorkflow({ workflowId: a?.workflowId ?? "", status: WorkflowStatus.COMPLETED, closeDescendants: true });
  await watch.until(() => expect(watch.known.get(b?.workflowId ?? "")?.status).toBe(WorkflowStatus.CANCELLED));
  await workflows.deleteWorkflowTree({ workflowId: a?.workflowId ?? "" });
  await watch.until(() => expect(watch.deleted.toSorted()).toEqual([a?.workflowId, b?.workflowId].toSorted()));
});
