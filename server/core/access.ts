/** What a caller may touch. Made from the credential alone; every look-up of a workflow goes through `assertMayAccess`. */
import { DomainError } from "./errors.ts";

export interface Access {
  readonly tenant: string;
  /** Only these workflows and their descendants; undefined: all of the tenant. */
  readonly subtrees: readonly string[] | undefined;
  /** May it see VARIABLE_* events? */
  readonly seesVariables: boolean;
}

/** A workflow's facts that never change. */
export interface WorkflowIdentity {
  readonly workflowId: string;
  readonly tenant: string;
  readonly streamId: string;
  /** The root, … , the parent, itself. */
  readonly path: readonly string[];
}

/** Which workflow: the id alone may be another tree's by now. */
export type WorkflowKey = Pick<WorkflowIdentity, "workflowId" | "streamId">;

export const mayAccess = (access: Access, { tenant, path }: WorkflowIdentity): boolean =>
  tenant === access.tenant &&
  (access.subtrees === undefined || path.some((id) => access.subtrees?.includes(id)));

export function assertMayAccess(access: Access, workflow: WorkflowIdentity): void {
  if (workflow.tenant !== access.tenant) {
    throw new DomainError(
      "permission_denied",
      `workflow ${workflow.workflowId} belongs to another tenant; use a credential of that tenant`,
    );
  }
  if (!mayAccess(access, workflow)) {
    throw new DomainError(
      "permission_denied",
      `the stream token does not cover workflow ${workflow.workflowId}; make one that names it or an ancestor`,
    );
  }
}
