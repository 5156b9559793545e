/** What happens in all instances, newest first, since this page listens: such events are not stored. */

import type { ReactNode } from "react";
import { SystemEventType, SystemEventTypeSchema } from "../../gen/tributary/v1/admin_service_pb.ts";
import { formatTime, shortId } from "../ui/format.ts";
import { scrollable } from "../ui/scrollable.ts";
import type { HeardEvent } from "./instance.ts";

const tones: Partial<Record<SystemEventType, string>> = {
  [SystemEventType.ERROR]: "bad",
  [SystemEventType.ENTRY_DROPPED]: "bad",
  [SystemEventType.WARNING]: "warn",
  [SystemEventType.BACKPRESSURE_ENTERED]: "warn",
  [SystemEventType.SHUTDOWN]: "warn",
};

export function SystemEvents({ events }: { readonly events: readonly HeardEvent[] }): ReactNode {
  return (
    <section className="block" aria-labelledby="system-events">
      <h2 id="system-events">System events</h2>
      {events.length === 0 ? (
        <p className="hint">
          None since this page listens. Sessions that come and go, warnings and errors appear here.
        </p>
      ) : (
        <div className="table events" {...scrollable} role="log" aria-label="System events">
          <ul>
            {events.map(({ id, event }) => (
              <li key={id}>
                <time>{formatTime(Number(event.timestampMs))}</time>
                <span className={`tag ${tones[event.type] ?? ""}`}>
                  {(SystemEventTypeSchema.value[event.type]?.localName ?? "event")
                    .toLowerCase()
                    .replaceAll("_", " ")}
                </span>
                <span>{event.message}</span>
                <small>
                  {event.component} · {shortId(event.instanceId)}
                </small>
              </li>
            ))}
          </ul>
        </div>
      )}
    </section>
  );
}
