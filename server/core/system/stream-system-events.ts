/**
 * StreamSystemEvents: the events that come from now on. The first message is a heartbeat: it says that the call listens.
 * A reader holds a place in the shared ring; if it falls out it is told how many of its events it missed.
 */
import type { Clock } from "../clock.ts";
import { limits } from "../limits.ts";
import type { CallOwner, Closing, OpenCalls } from "../open-call.ts";
import { Wakeup } from "../wakeup.ts";
import type { SystemEvent, SystemEventListener, SystemEvents } from "./system-events.ts";

export interface SystemEventDeps {
  readonly systemEvents: SystemEvents;
  readonly calls: OpenCalls;
  readonly clock: Clock;
}

export interface SystemEventFilter {
  /** Empty: all. */
  readonly types: readonly number[];
  /** Events of this tenant alone; undefined: of all, and of the instances. */
  readonly tenant: string | undefined;
}

export type SystemEventMessage =
  | { readonly kind: "event"; readonly event: SystemEvent }
  | { readonly kind: "heartbeat" }
  | ({ readonly kind: "closing" } & Closing);

export async function* streamSystemEvents(
  deps: SystemEventDeps,
  { types, tenant }: SystemEventFilter,
  owner: CallOwner,
  signal: AbortSignal,
): AsyncGenerator<SystemEventMessage> {
  const { systemEvents, clock } = deps;
  const wakeup = new Wakeup();
  const ring = () => wakeup.ring();
  const wanted = new Set(types);
  const listener: SystemEventListener = {
    isFor: (event) =>
      (wanted.size === 0 || wanted.has(event.type)) && (tenant === undefined || event.tenant === tenant),
    ring,
  };
  const call = await deps.calls.openReader(owner);
  const stopListening = call.onClosing(ring);
  signal.addEventListener("abort", ring, { once: true });
  const joined = systemEvents.join(listener);
  let cursor = systemEvents.head;
  let told = 0;
  try {
    yield { kind: "heartbeat" };
    let saidMs = clock.now();
    while (!signal.aborted) {
      if (cursor < systemEvents.first) {
        cursor = systemEvents.first;
        let here = 0;
        for (let at = cursor; at < systemEvents.head; at++)
          if (listener.isFor(systemEvents.at(at) as SystemEvent)) here++;
        const missed = joined.came - told - here;
        told += missed;
        if (missed > 0) yield { kind: "event", event: missedWarning(systemEvents, missed) };
        saidMs = clock.now();
        continue;
      }
      const event = systemEvents.at(cursor);
      const leftMs = saidMs + limits.heartbeatMs.default - clock.now();
      if (event !== undefined) {
        cursor++;
        if (!listener.isFor(event)) continue;
        told++;
        yield { kind: "event", event };
        saidMs = clock.now();
      } else if (call.closing !== undefined) {
        yield { kind: "closing", ...call.closing };
        return;
      } else if (leftMs <= 0) {
        yield { kind: "heartbeat" };
        saidMs = clock.now();
      } else {
        const cancel = clock.after(leftMs, ring);
        await wakeup.wait();
        cancel();
      }
    }
    // Not a plain return: to the caller that would look like a complete stream.
    signal.throwIfAborted();
  } finally {
    systemEvents.leave(listener);
    signal.removeEventListener("abort", ring);
    stopListening();
    call.end();
  }
}

/** Told whatever types were asked for: loss is never silent. */
const missedWarning = (systemEvents: SystemEvents, missed: number): SystemEvent =>
  systemEvents.warning(
    "system-events",
    `${missed} events were missed: they came faster than they were read`,
    {
      missed: String(missed),
    },
  );
