/** What an event carries, in a line for people. Payloads are whatever a worker wrote: never trusted to have their form. */
import { type Event, EventType } from "../../gen/tributary/v1/event_pb.ts";
import type { Paint } from "./paint.ts";
import { progressBar } from "./progress-bar.ts";
import { cleanLine } from "./width.ts";

const barWidth = 16;

export const textOf = ({ payload }: Event): string => (payload.case === "text" ? payload.value : "");

/** 0 to 1; undefined: it is no progress. */
export function progressOf(event: Event): number | undefined {
  const progress = event.type === EventType.PROGRESS ? fieldsOf(event)["progress"] : undefined;
  return typeof progress === "number" && Number.isFinite(progress) ? progress : undefined;
}

/** Its JSON, if that is an object. */
export function fieldsOf(event: Event): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(textOf(event));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

export function describePayload(event: Event, paint: Paint): string {
  if (event.payload.case === "binary") return paint.dim(`${event.payload.value.length} bytes`);
  const fields = fieldsOf(event);
  const part = (name: string) => asLine(fields[name]);
  switch (event.type) {
    case EventType.PROGRESS: {
      const progress = progressOf(event);
      if (progress === undefined) break;
      return `${progressBar(progress, barWidth, paint)}  ${part("details")}`.trimEnd();
    }
    case EventType.ERROR:
    case EventType.FAILED:
      if (fields["message"] === undefined) break;
      return `${part("message")}${fields["code"] === undefined ? "" : ` (${part("code")})`}`;
    case EventType.TOOL_CALL:
      if (fields["name"] === undefined) break;
      return `${part("name")} ${part("arguments")}`;
    case EventType.TOOL_RESULT:
      if (fields["name"] === undefined) break;
      return `${part("name")} → ${part("result")}`;
    case EventType.VARIABLE_SET:
      return `${part("name")} = ${part("value")}`;
    case EventType.VARIABLE_DELETED:
      return part("name");
    case EventType.CANCEL_REQUESTED:
      return part("reason");
    case EventType.WORKFLOW_CREATED:
      return "";
    default:
  }
  return cleanLine(textOf(event));
}

function asLine(value: unknown): string {
  if (value === undefined) return "";
  return cleanLine(typeof value === "string" ? value : JSON.stringify(value));
}
