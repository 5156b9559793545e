/**
 * An event as the page keeps it: plain numbers and text, a fraction of the decoded message. Payloads are kept up to 16 Ki
 * characters; `cut` says that there was more.
 */
import { type Event, EventType, EventTypeSchema } from "../../client/browser.ts";

export interface Entry {
  readonly offset: number;
  readonly type: EventType;
  readonly workflowId: string;
  /** Empty for events of the workflow itself. */
  readonly task: string;
  readonly text: string;
  readonly cut: boolean;
  /** The producer's clock, ms. */
  readonly sentMs: number;
  /** The database's clock at the commit, ms. */
  readonly recordedMs: number;
}

const longestText = 16_384;

export function toEntry(event: Event): Entry {
  const { payload } = event;
  const whole =
    payload.case === "text"
      ? payload.value
      : payload.case === "binary"
        ? `‹${payload.value.byteLength} bytes›`
        : "";
  const cut = whole.length > longestText;
  return {
    offset: Number(event.offset),
    type: event.type,
    workflowId: event.workflowId,
    task: event.taskExecutionId,
    text: cut ? whole.slice(0, longestText) : whole,
    cut,
    sentMs: Number(event.timestampMs),
    recordedMs: Number(event.recordedMs),
  };
}

export const typeName = (type: EventType): string =>
  (EventTypeSchema.value[type]?.localName ?? String(type)).toLowerCase().replaceAll("_", " ");

/** The fields of a payload that should be a JSON object; none if it is something else. */
export function fieldsOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {}; // a worker may write what it likes
  }
}

export const textIn = (value: unknown): string =>
  value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);

/** One line that says what is in it. */
export function previewOf({ type, text }: Entry): string {
  const fields = structured.has(type) ? fieldsOf(text) : {};
  switch (type) {
    case EventType.PROGRESS:
      return `${Math.round(Number(fields["progress"] ?? 0) * 100)} % ${textIn(fields["details"])}`;
    case EventType.ERROR:
    case EventType.FAILED:
      return textIn(fields["message"]) || text;
    case EventType.TOOL_CALL:
      return `${textIn(fields["name"])}(${textIn(fields["arguments"])})`;
    case EventType.TOOL_RESULT:
      return `${textIn(fields["name"])} → ${textIn(fields["result"])}`;
    case EventType.WORKFLOW_CREATED:
      return textIn(fields["name"]);
    case EventType.CANCEL_REQUESTED:
      return textIn(fields["reason"]);
    case EventType.VARIABLE_SET:
      return `${textIn(fields["name"])} = ${textIn(fields["value"])}`;
    case EventType.VARIABLE_DELETED:
      return textIn(fields["name"]);
    default:
      return text;
  }
}

const structured: ReadonlySet<EventType> = new Set([
  EventType.PROGRESS,
  EventType.ERROR,
  EventType.FAILED,
  EventType.TOOL_CALL,
  EventType.TOOL_RESULT,
  EventType.WORKFLOW_CREATED,
  EventType.CANCEL_REQUESTED,
  EventType.VARIABLE_SET,
  EventType.VARIABLE_DELETED,
]);
