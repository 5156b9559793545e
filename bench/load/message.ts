/** A message to publish, encoded once; each send copies it and writes the time into its payloads. */
import { create, toBinary } from "@bufbuild/protobuf";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import {
  PublishTaskEventsRequestSchema,
  StreamTaskDataRequestSchema,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { toFrame } from "../wire/grpc-frames.ts";
import { stampedText, stampPositions, writeStamp } from "../wire/stamp.ts";

export class MessageTemplate {
  readonly #frame: Buffer;
  readonly #positions: readonly number[];

  private constructor(message: Uint8Array) {
    this.#frame = toFrame(message);
    this.#positions = stampPositions(this.#frame);
  }

  /** For PublishTaskEvents. */
  static ofEvents(workflowId: string, events: number, payloadBytes: number): MessageTemplate {
    const event = {
      workflowId,
      taskExecutionId: "task-1",
      type: EventType.TOKEN,
      payload: { case: "text", value: stampedText(0, payloadBytes) },
    } as const;
    const message = create(PublishTaskEventsRequestSchema, {
      events: Array.from({ length: events }, () => event),
    });
    return new MessageTemplate(toBinary(PublishTaskEventsRequestSchema, message));
  }

  /** For StreamTaskData. */
  static ofOne(workflowId: string, payloadBytes: number): MessageTemplate {
    const message = create(StreamTaskDataRequestSchema, {
      workflowExecutionId: workflowId,
      taskExecutionId: "task-1",
      type: EventType.TOKEN,
      payload: stampedText(0, payloadBytes),
    });
    return new MessageTemplate(toBinary(StreamTaskDataRequestSchema, message));
  }

  stamped(us: number): Buffer {
    const frame = Buffer.from(this.#frame);
    writeStamp(frame, this.#positions, us);
    return frame;
  }
}
