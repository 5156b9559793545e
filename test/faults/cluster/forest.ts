/** The trees of all tenants as their clients know them: they grow and are closed at whichever instance answers. */
import { randomUUID } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { WorkflowStatus } from "../../../gen/tributary/v1/event_pb.ts";
import type { Stage } from "./stage.ts";

export interface Branch {
  readonly id: string;
  readonly tenant: string;
  readonly root: string;
  readonly parent: string | undefined;
  /** Somebody closes it, or has. */
  closing: WorkflowStatus | undefined;
  /** It was, while others still wrote. */
  closedEarly: boolean;
  /** Somebody asked its workers to stop. */
  cancelled: boolean;
  /** When that was confirmed, ms. */
  cancelledMs: number | undefined;
}

const { COMPLETED, FAILED, CANCELLED } = WorkflowStatus;

export class Forest {
  readonly branches = new Map<string, Branch>();
  /** Ids of what may have been created though its client was told otherwise. */
  readonly doubtful = new Set<string>();
  readonly #stage: Stage;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  get roots(): Branch[] {
    return [...this.branches.values()].filter(({ parent }) => parent === undefined);
  }

  of(root: string): Branch[] {
    return [...this.branches.values()].filter((branch) => branch.root === root);
  }

  /** undefined: its parent was closed before. */
  async grow(tenant: string, parent?: Branch): Promise<Branch | undefined> {
    const id = randomUUID();
    const branch: Branch = {
      id,
      tenant,
      root: parent?.root ?? id,
      parent: parent?.id,
      closing: undefined,
      closedEarly: false,
      cancelled: false,
      cancelledMs: undefined,
    };
    // The client gives the id, so a repetition finds what the first try made.
    const request = { workflowId: id, parentWorkflowId: parent?.id ?? "", name: `of ${tenant}` };
    const expected = parent?.closing === undefined ? [] : [Code.FailedPrecondition];
    const { answer } = await this.#stage.call(
      `creation of ${id}`,
      tenant,
      ({ workflows }, options) => workflows.createWorkflow(request, options),
      expected,
    );
    if (answer === undefined) {
      this.doubtful.add(id);
      return undefined;
    }
    this.branches.set(id, branch);
    return branch;
  }

  async cancel(branch: Branch): Promise<void> {
    branch.cancelled = true;
    const request = { workflowId: branch.id, reason: "enough" };
    const expected = [Code.FailedPrecondition];
    const { answer } = await this.#stage.call(
      `cancellation of ${branch.id}`,
      branch.tenant,
      ({ workflows }, options) => workflows.requestCancel(request, options),
      expected,
    );
    if (answer !== undefined) branch.cancelledMs = Date.now();
  }

  /** The workflow and those above it. */
  *path(branch: Branch): Generator<Branch> {
    for (let at: Branch | undefined = branch; at !== undefined; at = this.branches.get(at.parent ?? ""))
      yield at;
  }

  async close(branch: Branch, closeDescendants: boolean): Promise<void> {
    if (branch.closing === undefined)
      branch.closing = this.#stage.random.pick([COMPLETED, FAILED, CANCELLED]);
    if (closeDescendants) {
      for (const other of this.of(branch.root))
        if (this.path(other).some((above) => above === branch)) other.closing ??= CANCELLED;
    }
    if (!this.#stage.over)
      for (const other of this.of(branch.root)) other.closedEarly ||= other.closing !== undefined;
    const request = { workflowId: branch.id, status: branch.closing, closeDescendants };
    // Its parent may have closed it in another way.
    await this.#stage.call(
      `closing of ${branch.id}`,
      branch.tenant,
      ({ workflows }, options) => workflows.closeWorkflow(request, options),
      [Code.FailedPrecondition],
    );
  }
}
