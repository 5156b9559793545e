/** Commands as the appender would be given them, with defaults. */
import type {
  AppendEntries,
  AttachSession,
  Chain,
  CloseWorkflow,
  CreateWorkflow,
  DeleteVariable,
  EndSession,
  SetVariables,
  VariableItem,
} from "../../server/core/command.ts";
import { type NewEvent, sizeOf } from "../../server/core/event.ts";
import { newId } from "./database.ts";

export function anEvent(event: Partial<NewEvent> & { workflowId: string }): NewEvent {
  return {
    taskExecutionId: "task",
    producerId: "",
    sequence: 0,
    type: 1,
    payload: "x",
    timestampMs: 1,
    ...event,
  };
}

const base = { tenant: "acme", lane: "normal", idempotent: true, patienceMs: 20_000 } as const;

export function entries(
  streamId: string,
  events: readonly NewEvent[],
  chain: Chain = { broken: false },
): AppendEntries {
  return {
    ...base,
    kind: "entries",
    streamId,
    chain,
    events,
    entries: events.length,
    bytes: events.reduce((sum, event) => sum + sizeOf(event), 0),
  };
}

export function create(
  streamId: string,
  options: Partial<
    Pick<
      CreateWorkflow,
      "workflowId" | "parentWorkflowId" | "name" | "tenant" | "retentionMaxAgeMs" | "retentionMaxEvents"
    >
  > = {},
): CreateWorkflow {
  const workflowId = options.workflowId ?? newId();
  return {
    ...base,
    kind: "create",
    streamId,
    workflowId,
    parentWorkflowId: options.parentWorkflowId,
    name: options.name ?? "w",
    metadata: {},
    retentionMaxAgeMs: options.retentionMaxAgeMs,
    retentionMaxEvents: options.retentionMaxEvents,
    payload: JSON.stringify({
      parentWorkflowId: options.parentWorkflowId,
      name: "w",
      depth: 0,
      metadata: {},
    }),
    entries: 1,
    bytes: 200,
    tenant: options.tenant ?? "acme",
  };
}

export function close(
  streamId: string,
  workflowId: string,
  closeDescendants = false,
  status = 2,
): CloseWorkflow {
  return {
    ...base,
    kind: "close",
    streamId,
    workflowId,
    status,
    payload: "{}",
    closeDescendants,
    descendantPayload: "{}",
    entries: 1,
    bytes: 200,
  };
}

export function attach(
  streamId: string,
  workflowId: string | undefined,
  sessionId: string,
  resume = false,
): AttachSession {
  return {
    ...base,
    kind: "attach",
    streamId,
    workflowId,
    sessionId,
    resume,
    leaseMs: 300_000,
    maxSessions: 0,
    entries: 1,
    bytes: 100,
  };
}

export function endSession(streamId: string, sessionId: string, epoch: number | undefined): EndSession {
  return { ...base, kind: "end", streamId, sessionId, reason: 7, epoch, entries: 1, bytes: 100 };
}

export function setVariable(
  streamId: string,
  workflowId: string,
  name: string,
  item: Partial<VariableItem> = {},
): SetVariables {
  const one = {
    name,
    type: 6,
    value: "1",
    constraints: undefined,
    metadata: {},
    clearMetadata: false,
    expectedVersion: undefined,
    rulesVersion: 0,
    ...item,
  };
  return {
    ...base,
    idempotent: false,
    entries: 1,
    bytes: 100,
    kind: "set_variables",
    streamId,
    workflowId,
    source: "",
    items: [one],
    full: false,
  };
}

export const deleteVariable = (
  streamId: string,
  workflowId: string,
  name: string,
  expectedVersion?: number,
): DeleteVariable => ({
  ...base,
  idempotent: false,
  entries: 1,
  bytes: 100,
  kind: "delete_variable",
  streamId,
  workflowId,
  name,
  source: "",
  expectedVersion,
});
