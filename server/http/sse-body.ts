/** The bytes of a stream of Server-Sent Events; those of a batch are made once for all readers that get it. */
import type { SentEvent } from "../core/batch.ts";
import type { FollowMessage } from "../core/follow.ts";
import { lastChunk, toChunk } from "./shared-chunks.ts";
import { toSse } from "./sse-format.ts";

export interface SseBody {
  of(message: FollowMessage): Uint8Array;
  ofEvents(events: readonly SentEvent[]): Uint8Array;
  /** What comes after the last message. */
  readonly end: Uint8Array | undefined;
}

export const plainBody = bodyOf((text) => Buffer.from(text), undefined);
export const chunkedBody = bodyOf((text) => toChunk(Buffer.from(text)), lastChunk);

function bodyOf(toBytes: (text: string) => Uint8Array, end: Uint8Array | undefined): SseBody {
  const made = new WeakMap<readonly SentEvent[], Uint8Array>();
  const ofEvents = (events: readonly SentEvent[]) => {
    let bytes = made.get(events);
    if (bytes === undefined) {
      bytes = toBytes(toSse({ kind: "events", events }));
      made.set(events, bytes);
    }
    return bytes;
  };
  return {
    of: (message) => (message.kind === "events" ? ofEvents(message.events) : toBytes(toSse(message))),
    ofEvents,
    end,
  };
}
