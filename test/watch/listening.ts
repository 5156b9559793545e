/** What one StreamSystemEvents call said. */
import { expect } from "vitest";
import type { SystemEvent, SystemEventType } from "../../gen/tributary/v1/admin_service_pb.ts";
import type { Closing } from "../../gen/tributary/v1/event_pb.ts";
import type { Clients } from "../support/server.ts";
import { until } from "../support/until.ts";

export class Listening implements AsyncDisposable {
  readonly events: SystemEvent[] = [];
  heartbeats = 0;
  closing: Closing | undefined;
  readonly finished: Promise<void>;
  readonly #abort = new AbortController();

  constructor({ admin }: Clients, request: { types?: SystemEventType[]; tenantSlug?: string } = {}) {
    this.finished = this.#read(admin.streamSystemEvents(request, { signal: this.#abort.signal }));
    this.finished.catch(() => {});
  }

  async #read(answers: ReturnType<Clients["admin"]["streamSystemEvents"]>): Promise<void> {
    try {
      for await (const { message } of answers) {
        if (this.closing !== undefined) throw new Error(`${message.case} after closing`);
        if (message.case === "event") this.events.push(message.value);
        else if (message.case === "heartbeat") this.heartbeats++;
        else this.closing = message.value;
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    }
    if (!this.#abort.signal.aborted && this.closing === undefined)
      throw new Error("ended OK without closing");
  }

  /** Of a session, or of all. */
  types(sessionId?: string): SystemEventType[] {
    return this.events
      .filter(({ metadata }) => sessionId === undefined || metadata["session_id"] === sessionId)
      .map(({ type }) => type);
  }

  async until(assertions: () => void, timeoutMs?: number): Promise<this> {
    let failed = false;
    this.finished.catch(() => {
      failed = true;
    });
    await until(() => {
      if (!failed) assertions();
    }, timeoutMs);
    if (failed) await this.finished;
    return this;
  }

  /** The first heartbeat says that it listens. */
  live(): Promise<this> {
    return this.until(() => expect(this.heartbeats).toBeGreaterThan(0));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.finished.catch(() => {});
  }
}
