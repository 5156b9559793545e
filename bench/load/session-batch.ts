/** A batch of a session, encoded once; each send copies it and writes its number and the time into the copy. */
import { create, toBinary } from "@bufbuild/protobuf";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { PublishTaskStreamRequestSchema } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { toFrame } from "../wire/grpc-frames.ts";
import { largestSequence, sequencePosition, writeSequence } from "../wire/sequence.ts";
import { stampedText, stampPositions, writeStamp } from "../wire/stamp.ts";

export class SessionBatch {
  readonly events: number;
  readonly #frame: Buffer;
  readonly #sequenceAt: number;
  readonly #stampsAt: readonly number[];

  constructor(events: number, payloadBytes: number) {
    const event = {
      taskExecutionId: "task-1",
      type: EventType.TOKEN,
      payload: { case: "text", value: stampedText(0, payloadBytes) },
    } as const;
    const value = { firstSequence: largestSequence, events: Array.from({ length: events }, () => event) };
    const message = create(PublishTaskStreamRequestSchema, { operation: { case: "batch", value } });
    this.events = events;
    this.#frame = toFrame(toBinary(PublishTaskStreamRequestSchema, message));
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
