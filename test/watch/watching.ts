/** What one WatchWorkflows call said, checked against what holds for every one: the registry as a client knows it. */
import type { CallOptions, Client } from "@connectrpc/connect";
import { expect } from "vitest";
import type { Closing } from "../../gen/tributary/v1/event_pb.ts";
import type {
  WatchWorkflowsResponse,
  Workflow,
  WorkflowService,
} from "../../gen/tributary/v1/workflow_service_pb.ts";
import { ReadingCall } from "../support/reading-call.ts";

export class Watching extends ReadingCall<WatchWorkflowsResponse> {
  /** What the client knows: the newest state of each workflow that was not deleted. */
  readonly known = new Map<string, Workflow>();
  readonly cases: string[] = [];
  /** Ids in the order in which they were told of first. */
  readonly order: string[] = [];
  readonly deleted: string[] = [];
  /** Ids of the snapshot; undefined: it is not complete. */
  snapshot: readonly string[] | undefined;
  closing: Closing | undefined;
  messages = 0;

  constructor(
    workflows: Client<typeof WorkflowService>,
    request: { rootsOnly?: boolean; snapshotSize?: number } = {},
    options: CallOptions = {},
  ) {
    super((own) => workflows.watchWorkflows(request, { ...options, ...own }));
  }

  protected override get hasLast(): boolean {
    return this.closing !== undefined;
  }

  protected override hear({ message }: WatchWorkflowsResponse): void {
    if (this.closing !== undefined) throw new Error(`${message.case} after closing`);
    this.messages++;
    this.cases.push(message.case ?? "nothing");
    if (message.case === "workflows") {
      const { workflows, deletedWorkflowIds } = message.value;
      const count = workflows.length + deletedWorkflowIds.length;
      if (count === 0 || count > 1000) throw new Error(`a message of ${count}`);
      for (const workflow of workflows) this.#note(workflow);
      for (const id of deletedWorkflowIds) {
        if (workflows.some(({ workflowId }) => workflowId === id))
          throw new Error(`${id}: alive and deleted`);
        this.known.delete(id);
        this.deleted.push(id);
      }
    } else if (message.case === "snapshotComplete") {
      if (this.snapshot !== undefined) throw new Error("a second snapshot");
      this.snapshot = [...this.order];
    } else if (message.case === "closing") this.closing = message.value;
  }

  #note(workflow: Workflow): void {
    const before = this.known.get(workflow.workflowId);
    if (before === undefined) this.order.push(workflow.workflowId);
    else if (before.closedMs > 0n && workflow.closedMs === 0n)
      throw new Error(`${workflow.workflowId}: open again after it was closed`);
    this.known.set(workflow.workflowId, workflow);
  }

  get ids(): string[] {
    return [...this.known.keys()];
  }

  live(): Promise<this> {
    return this.until(() => expect(this.snapshot).toBeDefined());
  }
}
