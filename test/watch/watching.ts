/** What one WatchWorkflows call said, checked against what holds for every one: the registry as a client knows it. */
import type { CallOptions, Client } from "@connectrpc/connect";
import { expect } from "vitest";
import type { Closing } from "../../gen/tributary/v1/event_pb.ts";
import type { Workflow, WorkflowService } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { until } from "../support/until.ts";

export class Watching implements AsyncDisposable {
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
  readonly finished: Promise<void>;
  readonly #abort = new AbortController();

  constructor(
    workflows: Client<typeof WorkflowService>,
    request: { rootsOnly?: boolean; snapshotSize?: number } = {},
    options: CallOptions = {},
  ) {
    this.finished = this.#read(workflows.watchWorkflows(request, { ...options, signal: this.#abort.signal }));
    this.finished.catch(() => {});
  }

  async #read(answers: ReturnType<Client<typeof WorkflowService>["watchWorkflows"]>): Promise<void> {
    try {
      for await (const { message } of answers) {
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
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    }
    if (!this.#abort.signal.aborted && this.closing === undefined)
      throw new Error("ended OK without closing");
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

  async until(assertions: () => void, timeoutMs?: number): Promise<this> {
    let failed = false;
    this.finished.catch(() => {
      failed = true;
    });
    await until(() => {
      if (!failed) assertions();
    }, timeoutMs);
    if (failed) await this.finished;
    return this;
  }

  live(): Promise<this> {
    return this.until(() => expect(this.snapshot).toBeDefined());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.finished.catch(() => {});
  }
}
