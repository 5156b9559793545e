/** What the parts of the service have to tell, as system events. Names of metadata are part of what readers rely on. */
import type { NewEvent } from "../event.ts";
import type { Trimmed } from "../retention/retention-store.ts";
import { ClosedReason } from "../session/messages.ts";
import type { SessionChange } from "../session/sessions.ts";
import { type NewSystemEvent, SystemEventType } from "./system-events.ts";

export const toLife = (
  type: typeof SystemEventType.STARTUP | typeof SystemEventType.SHUTDOWN,
): NewSystemEvent => ({
  type,
  component: "server",
  message: type === SystemEventType.STARTUP ? "started" : "draining: it takes nothing new, and then stops",
});

export const toWarning = (component: string, message: string, error: Error): NewSystemEvent => ({
  type: SystemEventType.WARNING,
  component,
  message,
  metadata: { error: error.message },
});

/** A bug. The caller got the id. */
export const toError = (errorId: string, error: unknown): NewSystemEvent => ({
  type: SystemEventType.ERROR,
  component: "rpc",
  message: "internal error; its id is in the log",
  metadata: { error_id: errorId, error: error instanceof Error ? error.message : String(error) },
});

const sessionTypes = {
  attached: SystemEventType.SESSION_ATTACHED,
  detached: SystemEventType.SESSION_DETACHED,
  closed: SystemEventType.SESSION_CLOSED,
} as const;

export function toSessionEvent({
  kind,
  sessionId,
  tenant,
  workflowId,
  space,
  reason,
}: SessionChange): NewSystemEvent {
  const why = Object.entries(ClosedReason).find(([, value]) => value === reason)?.[0];
  return {
    type: sessionTypes[kind],
    component: "sessions",
    message: `session ${sessionId} ${kind}${why === undefined ? "" : `: ${why}`}`,
    tenant,
    metadata: { session_id: sessionId, workflow_id: workflowId, space, reason: why },
  };
}

/** From so many entries of a tenant on, a round of retention is worth a word. */
const muchTrimmed = 10_000;

export const toTrimmed = ({ tenant, streams, entries }: Trimmed): NewSystemEvent | undefined =>
  entries < muchTrimmed
    ? undefined
    : {
        type: SystemEventType.TRIMMED,
        component: "retention",
        message: `retention removed ${entries} entries of ${streams} streams`,
        tenant,
        metadata: { entries: String(entries), streams: String(streams) },
      };

export const toDropped = (tenant: string, event: NewEvent, why: string): NewSystemEvent => ({
  type: SystemEventType.ENTRY_DROPPED,
  component: "publish",
  message: `an accepted event could not be stored: ${why}`,
  tenant,
  metadata: {
    workflow_id: event.workflowId,
    task_execution_id: event.taskExecutionId,
    producer_id: event.producerId === "" ? undefined : event.producerId,
    sequence: event.producerId === "" ? undefined : String(event.sequence),
    reason: why,
  },
});
