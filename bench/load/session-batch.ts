/** A batch of a session, encoded once; each send copies it and writes its number and the time into the copy. */
import { toFrame } from "../wire/grpc-frames.ts";
import { sequencePosition, writeSequence } from "../wire/sequence.ts";
import { stampPositions, writeStamp } from "../wire/stamp.ts";
import type { SessionKind } from "./session-kind.ts";

export class SessionBatch {
  readonly events: number;
  readonly #frame: Buffer;
  readonly #sequenceAt: number;
  readonly #stampsAt: readonly number[];

  constructor(kind: SessionKind, events: number, payloadBytes: number) {
    this.events = events;
    this.#frame = toFrame(kind.batch(events, payloadBytes));
    this.#sequenceAt = sequencePosition(this.#frame);
    this.#stampsAt = stampPositions(this.#frame);
  }

  from(sequence: number, us: number): Buffer {
    const frame = Buffer.from(this.#frame);
    writeSequence(frame, this.#sequenceAt, sequence);
    writeStamp(frame, this.#stampsAt, us);
    return frame;
  }
}
