/**
 * The roots of the tenant, live: the newest 500 from WatchWorkflows, and whatever a search brought in, 2,000 at most. Changes
 * are drawn once a frame.
 */
import { ConnectError, WorkflowStatus } from "../../client/browser.ts";
import type { Workflow } from "../../gen/tributary/v1/workflow_service_pb.ts";
import type { Api } from "../session/api.ts";
import { keepCalling } from "../session/keep-calling.ts";
import { whilePresent } from "../ui/presence.ts";
import { Changes } from "../ui/store.ts";

const snapshotSize = 500;
const mostWorkflows = 2_000;

export class WorkflowRegistry {
  readonly changes = new Changes();
  connected = false;
  /** The snapshot is complete: what is not here does not exist, or is older. */
  complete = false;
  failure: string | undefined;
  readonly #api: Api;
  readonly #stop = new AbortController();
  #workflows = new Map<string, Workflow>();
  /** One that is coming in. */
  #snapshot: Map<string, Workflow> | undefined;
  #sorted: readonly Workflow[] | undefined;

  constructor(api: Api) {
    this.#api = api;
  }

  /** Newest first. */
  get workflows(): readonly Workflow[] {
    this.#sorted ??= [...this.#workflows.values()].sort((a, b) => Number(b.createdMs - a.createdMs));
    return this.#sorted;
  }

  get running(): number {
    return this.workflows.filter(isOpen).length;
  }

  run(): Promise<void> {
    return whilePresent((signal) => this.#watch(signal), this.#stop.signal);
  }

  async #watch(signal: AbortSignal): Promise<void> {
    this.#snapshot = new Map();
    const tell = (connected: boolean) => {
      // The next call begins with a snapshot: what is not in it was deleted meanwhile, or is old.
      if (!connected) this.#snapshot = new Map();
      this.connected = connected;
      this.changes.touch();
    };
    const open = (own: AbortSignal) =>
      this.#api.workflows.watchWorkflows({ rootsOnly: true, snapshotSize }, { signal: own });
    try {
      for await (const { message } of keepCalling(open, signal, tell)) {
        if (message.case === "workflows") {
          this.#take(message.value.workflows);
          for (const id of message.value.deletedWorkflowIds) this.#workflows.delete(id);
        } else if (message.case === "snapshotComplete") this.#completeSnapshot();
        this.#sorted = undefined;
        this.changes.touch();
      }
    } catch (error) {
      if (signal.aborted) return;
      this.failure = ConnectError.from(error).rawMessage;
      this.changes.touch();
    }
  }

  /** Brings in older ones whose name holds this text. */
  async search(nameContains: string, signal: AbortSignal): Promise<void> {
    const found = await this.#api.workflows
      .listWorkflows({ nameContains, rootsOnly: true, pageSize: 200 }, { signal })
      .catch(() => undefined); // what is here already is searched all the same
    if (found === undefined) return;
    this.#take(found.workflows.filter(({ workflowId }) => !this.#workflows.has(workflowId)));
    this.changes.touch();
  }

  stop(): void {
    this.#stop.abort();
  }

  #completeSnapshot(): void {
    this.complete = true;
    if (this.#snapshot !== undefined) this.#workflows = this.#snapshot;
    this.#snapshot = undefined;
  }

  #take(workflows: readonly Workflow[]): void {
    for (const workflow of workflows) {
      this.#workflows.set(workflow.workflowId, workflow);
      this.#snapshot?.set(workflow.workflowId, workflow);
    }
    this.#sorted = undefined;
    if (this.#workflows.size <= mostWorkflows) return;
    for (const { workflowId } of this.workflows.slice(mostWorkflows)) this.#workflows.delete(workflowId);
    this.#sorted = undefined;
  }
}

/** Itself or anything below it. */
export const isOpen = ({ status, openInSubtree }: Workflow): boolean =>
  status === WorkflowStatus.RUNNING || openInSubtree > 0;
