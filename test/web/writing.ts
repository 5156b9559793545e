/** A worker for the console's tests: a tree that is written step by step. */
import { randomUUID } from "node:crypto";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import type { Clients } from "../support/server.ts";

export async function startTree(
  { workflows }: Clients,
  name: string,
  parentWorkflowId = "",
): Promise<string> {
  const workflowId = randomUUID();
  await workflows.createWorkflow({ workflowId, name, parentWorkflowId });
  return workflowId;
}

export async function write(
  { tasks }: Clients,
  workflowExecutionId: string,
  type: EventType,
  payload: string | object,
  taskExecutionId = "task-1",
): Promise<void> {
  await tasks.streamTaskData({
    ...{ workflowExecutionId, taskExecutionId, type, waitForDurable: true },
    payload: typeof payload === "string" ? payload : JSON.stringify(payload),
  });
}

export async function say(clients: Clients, workflowId: string, ...words: readonly string[]): Promise<void> {
  for (const word of words) await write(clients, workflowId, EventType.TOKEN, word);
}

export async function finish({ workflows }: Clients, workflowId: string): Promise<void> {
  await workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED, closeDescendants: true });
}
