/** What one StreamSystemEvents call said. */
import { expect } from "vitest";
import type {
  StreamSystemEventsResponse,
  SystemEvent,
  SystemEventType,
} from "../../gen/tributary/v1/admin_service_pb.ts";
import type { Closing } from "../../gen/tributary/v1/event_pb.ts";
import { ReadingCall } from "../support/reading-call.ts";
import type { Clients } from "../support/server.ts";

export class Listening extends ReadingCall<StreamSystemEventsResponse> {
  readonly events: SystemEvent[] = [];
  heartbeats = 0;
  closing: Closing | undefined;

  constructor({ admin }: Clients, request: { types?: SystemEventType[]; tenantSlug?: string } = {}) {
    super((options) => admin.streamSystemEvents(request, options));
  }

  protected override get hasLast(): boolean {
    return this.closing !== undefined;
  }

  protected override hear({ message }: StreamSystemEventsResponse): void {
    if (this.closing !== undefined) throw new Error(`${message.case} after closing`);
    if (message.case === "event") this.events.push(message.value);
    else if (message.case === "heartbeat") this.heartbeats++;
    else this.closing = message.value;
  }

  /** Of a session, or of all. */
  types(sessionId?: string): SystemEventType[] {
    return this.events
      .filter(({ metadata }) => sessionId === undefined || metadata["session_id"] === sessionId)
      .map(({ type }) => type);
  }

  /** The first heartbeat says that it listens. */
  live(): Promise<this> {
    return this.until(() => expect(this.heartbeats).toBeGreaterThan(0));
  }
}
