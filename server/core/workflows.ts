/** The life of workflows: registering, closing, asking to stop, deleting. Changes go through the appender like events. */
import { v7 as uuidv7 } from "uuid";
import type { Access } from "./access.ts";
import type { Appender } from "./appender.ts";
import type { Command, LifecycleResult } from "./command.ts";
import { DomainError } from "./errors.ts";
import { payloadSize, WorkflowStatus } from "./event.ts";
import { limits } from "./limits.ts";
import { callerPatienceMs, refusedOffer } from "./publish.ts";
import type { Quotas } from "./quota/quotas.ts";
import { type Registry, unknownWorkflow, type Workflow } from "./registry.ts";
import type { Sessions } from "./session/sessions.ts";
import type { Watches } from "./watch/watches.ts";

export interface WorkflowDeps {
  readonly appender: Appender;
  readonly registry: Registry;
  readonly sessions: Pick<Sessions, "noteCancel">;
  readonly quotas: Pick<Quotas, "admit">;
  readonly watches: Pick<Watches, "note">;
}

/** When a creation over the limit may try again, ms: somebody must close a workflow first. */
const openRetryMs = 5000;

export interface NewWorkflow {
  /** "": the server makes a UUIDv7. */
  readonly workflowId: string;
  /** "": a root. */
  readonly parentWorkflowId: string;
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly retentionMaxAgeMs: number | undefined;
  readonly retentionMaxEvents: number | undefined;
}

/** Registers a workflow; the same one again gives the existing one. */
export async function createWorkflow(
  deps: WorkflowDeps,
  access: Access,
  wanted: NewWorkflow,
): Promise<Workflow> {
  const metadataBytes = Object.entries(wanted.metadata).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value),
    0,
  );
  if (metadataBytes > limits.metadataBytes) {
    throw new DomainError(
      "invalid_argument",
      `metadata: keys and values together must not exceed ${limits.metadataBytes} bytes, found ${metadataBytes}`,
    );
  }
  const workflowId = wanted.workflowId === "" ? uuidv7() : wanted.workflowId.toLowerCase();
  const parentId = wanted.parentWorkflowId.toLowerCase();
  if (parentId === workflowId) {
    throw new DomainError(
      "invalid_argument",
      `parent_workflow_id: ${parentId} is the workflow itself; a workflow cannot be its own ancestor`,
    );
  }
  if (
    parentId !== "" &&
    (wanted.retentionMaxAgeMs !== undefined || wanted.retentionMaxEvents !== undefined)
  ) {
    throw new DomainError(
      "invalid_argument",
      "retention: only a root has one, it holds for the whole tree; leave it out for a child",
    );
  }
  const parent = parentId === "" ? undefined : (await deps.registry.require(access, parentId)).identity;
  const depth = parent === undefined ? 0 : parent.path.length;
  const streamId = parent?.streamId ?? uuidv7();
  const payload = JSON.stringify({
    ...(parent === undefined ? {} : { parentWorkflowId: parent.workflowId }),
    name: wanted.name,
    depth,
    metadata: wanted.metadata,
  });
  const result = await submit(deps, {
    ...base(access.tenant, streamId, 2 * payloadSize(payload)),
    kind: "create",
    workflowId,
    parentWorkflowId: parent?.workflowId,
    name: wanted.name,
    metadata: wanted.metadata,
    retentionMaxAgeMs: wanted.retentionMaxAgeMs,
    retentionMaxEvents: wanted.retentionMaxEvents,
    payload,
  });
  switch (result.result) {
    case "created":
      deps.watches.note(access.tenant);
      return deps.registry.read(access, workflowId);
    case "exists":
      return existing(deps, access, workflowId, wanted);
    case "parent_closed":
      throw new DomainError(
        "failed_precondition",
        `parent_workflow_id: workflow ${parentId} is closed; only an open workflow takes children`,
      );
    case "too_many":
      deps.appender.traffic.counts.quotas.max_open_workflows++;
      throw new DomainError(
        "resource_exhausted",
        `the tenant has ${result.open} open workflows, its limits allow ${result.most} (max_open_workflows, all servers together); close some, then try again`,
        { retryAfterMs: openRetryMs },
      );
    case "too_deep":
      throw new DomainError(
        "failed_precondition",
        `parent_workflow_id: workflow ${parentId} has depth ${depth - 1}; a tree has at most ${limits.depth} levels below its root`,
      );
    default:
      deps.registry.forget(parentId);
      throw unknownWorkflow(parentId);
  }
}

async function existing(
  deps: WorkflowDeps,
  access: Access,
  workflowId: string,
  wanted: NewWorkflow,
): Promise<Workflow> {
  const found = await deps.registry.store.find(workflowId);
  const same =
    found !== undefined &&
    found.tenant === access.tenant &&
    (found.parentWorkflowId ?? "") === wanted.parentWorkflowId.toLowerCase() &&
    found.name === wanted.name &&
    found.retentionMaxAgeMs === wanted.retentionMaxAgeMs &&
    found.retentionMaxEvents === wanted.retentionMaxEvents &&
    isSameMetadata(found.metadata, wanted.metadata);
  if (same) return found;
  throw new DomainError(
    "already_exists",
    `workflow_id: ${workflowId} is taken by a workflow with other content; choose another id, or leave it out`,
  );
}

function isSameMetadata(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key])
  );
}

/** Writes the terminal event and the status, in order with everything accepted for the tree before. */
export async function closeWorkflow(
  deps: WorkflowDeps,
  access: Access,
  workflowId: string,
  status: number,
  payload: string,
  closeDescendants: boolean,
): Promise<{ workflow: Workflow; offset: number }> {
  const { identity } = await deps.registry.require(access, workflowId);
  const result = await submit(deps, {
    ...base(access.tenant, identity.streamId, payloadSize(payload)),
    kind: "close",
    workflowId: identity.workflowId,
    status,
    payload,
    closeDescendants,
    descendantPayload: JSON.stringify({ reason: `closed with its ancestor ${identity.workflowId}` }),
  });
  if (result.result === "unknown") {
    deps.registry.forget(identity.workflowId);
    throw unknownWorkflow(workflowId);
  }
  deps.registry.noteClosed(identity, closeDescendants);
  if (result.result === "closed") deps.watches.note(access.tenant);
  if (result.result === "closed_otherwise") {
    throw new DomainError(
      "failed_precondition",
      `status: workflow ${identity.workflowId} is closed already, as ${statusName(result.status)}; a closed workflow does not change`,
    );
  }
  return { workflow: await deps.registry.read(access, workflowId), offset: result.offset };
}

/** Notes that somebody asked the workers to stop; only the first request writes an event. */
export async function requestCancel(
  deps: WorkflowDeps,
  access: Access,
  workflowId: string,
  reason: string,
): Promise<Workflow> {
  if (payloadSize(reason) > limits.reasonBytes) {
    throw new DomainError(
      "invalid_argument",
      `reason: must not exceed ${limits.reasonBytes} bytes, found ${payloadSize(reason)}; say it shorter`,
    );
  }
  const { identity } = await deps.registry.require(access, workflowId);
  const payload = JSON.stringify({ reason });
  const result = await submit(deps, {
    ...base(access.tenant, identity.streamId, 2 * payloadSize(payload)),
    kind: "cancel",
    workflowId: identity.workflowId,
    reason,
    payload,
  });
  if (result.result === "unknown") {
    deps.registry.forget(identity.workflowId);
    throw unknownWorkflow(workflowId);
  }
  if (result.result === "closed") {
    throw new DomainError(
      "failed_precondition",
      `workflow ${identity.workflowId} is closed (${statusName(result.status)}); there is nothing to cancel`,
    );
  }
  // The first request counts, and only it is told.
  if (result.result === "requested") {
    deps.registry.noteCancelRequested(identity, reason);
    deps.sessions.noteCancel(identity, reason);
    deps.watches.note(access.tenant);
  }
  return deps.registry.read(access, workflowId);
}

/**
 * Removes a closed tree with all its events; returns how many of them could still be read. A call that fails midway is
 * made again: the tree is there until the last step, without entries.
 */
export async function deleteWorkflowTree(
  deps: WorkflowDeps,
  access: Access,
  workflowId: string,
): Promise<number> {
  // Not what is remembered: another instance may have deleted it, and somebody made it anew.
  const identity = await deps.registry.read(access, workflowId);
  if (identity.path.length > 1) {
    throw new DomainError(
      "invalid_argument",
      `workflow_id: ${identity.workflowId} is not a root; a tree is deleted as a whole, by its root ${identity.path[0]}`,
    );
  }
  const deleted = await deps.registry.store.deleteTree(identity);
  if (deleted === "unknown") {
    deps.registry.forgetTree(identity.workflowId);
    throw unknownWorkflow(workflowId);
  }
  if (deleted === "open") {
    throw new DomainError(
      "failed_precondition",
      `workflow ${identity.workflowId} has open workflows in its tree; close them first (CloseWorkflow with close_descendants)`,
    );
  }
  deps.registry.noteDeleted(identity.workflowId);
  deps.watches.note(access.tenant);
  return deleted.entries;
}

const base = (tenant: string, streamId: string, payloadBytes: number) =>
  ({
    tenant,
    streamId,
    lane: "normal",
    entries: 1,
    bytes: 1024 + payloadBytes,
    idempotent: true,
    patienceMs: callerPatienceMs,
  }) as const;

async function submit(
  deps: WorkflowDeps,
  command: Exclude<Command, { kind: "entries" }>,
): Promise<LifecycleResult> {
  await deps.quotas.admit(command.tenant, command.entries, payloadBytesOf(command));
  const submission = deps.appender.submit(command);
  if (submission.offer !== "queued") throw refusedOffer(deps.appender, command, submission);
  return (await submission.result) as LifecycleResult;
}

const payloadBytesOf = (command: Command): number =>
  "payload" in command ? payloadSize(command.payload) : 0;

const statusName = (status: number): string =>
  Object.entries(WorkflowStatus).find(([, value]) => value === status)?.[0] ?? String(status);
