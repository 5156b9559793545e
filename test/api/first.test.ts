import { expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { useServer } from "../support/server.ts";

const server = useServer();

test("a reader sees a workflow's tokens live and its end", async () => {
  const { workflows, tasks, streams } = server.acme;
  const { workflow } = await workflows.createWorkflow({ name: "first" });
  const workflowId = workflow?.workflowId ?? "";
  const seen: string[] = [];
  for await (const { message } of streams.streamWorkflow({ workflowId })) {
    const inner = message?.message;
    if (inner?.case === "opened") {
      await tasks.streamTaskData({
        workflowExecutionId: workflowId,
        taskExecutionId: "t",
        type: EventType.TOKEN,
        payload: "hi",
      });
      await workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    }
    if (inner?.case === "events") seen.push(...inner.value.events.map((event) => event.payload.value as string ?? ""));
    if (inner?.case === "ended") seen.push("end");
  }
  expect(seen.slice(1)).toEqual(["hi", "", "end"]);
});
