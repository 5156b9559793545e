/**
 * The response of a call as a place where events are written at once, and what waits for it. The bytes are shared by all readers
 * of a scope; a response that is full keeps one message beyond its own buffer.
 */
import { once } from "node:events";
import type { Http2ServerResponse } from "node:http2";
import type { SentEvent } from "../core/batch.ts";
import type { CallNotes } from "../core/call-notes.ts";
import type { Sink } from "../core/sink.ts";

type Response = Pick<Http2ServerResponse, "write" | "once" | "off">;

/** Writes each message as these bytes. */
export function sinkOf(
  response: Response,
  toBytes: (events: readonly SentEvent[]) => Uint8Array,
  notes: CallNotes | undefined,
): Sink {
  const sink: Sink = {
    onRoom: () => {},
    write(events) {
      notes?.sent(events);
      if (response.write(toBytes(events))) return true;
      response.once("drain", onDrain);
      return false;
    },
    close: () => response.off("drain", onDrain),
  };
  const onDrain = () => sink.onRoom();
  return sink;
}

/** Waits until the response has taken what was written: a slow reader holds one batch, not a queue. */
export async function roomIn(response: Http2ServerResponse, signal: AbortSignal): Promise<void> {
  await once(response, "drain", { signal }).catch(() => {}); // who writes next hears the signal
}

/** Why a call whose client left is aborted. One for all: to make one, with its stack, costs 20 µs a call. */
export const clientLeft = new DOMException("the client has left", "AbortError");
