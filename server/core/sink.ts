/**
 * A way for events past the layers of a call, once all that was said before has gone out: a reader that waits gives what the
 * window brings to the transport at once, in the same step that rings it. In a fan-out those layers (async generators of the
 * protocol, promises, a turn of the microtask queue for each) cost several times what taking and writing does.
 *
 * Everything else goes the way of all messages, so that openings, ends, errors and deadlines have one place. A reader whose
 * transport is full keeps its cursor where it is: nothing is queued here.
 */
import type { SentEvent } from "./batch.ts";

export interface Sink {
  /** Called when there is room again. Set once. */
  onRoom: () => void;
  /** Writes a message. False: the transport is full, and nothing more must come until `onRoom`. */
  write(events: readonly SentEvent[]): boolean;
  /** No message of it is heard of any more. */
  close(): void;
}
