/** A message to publish, encoded once; each send copies it and writes the time into its payloads. */
import { create, toBinary } from "@bufbuild/protobuf";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import {
  PublishTaskEventsRequestSchema,
  StreamTaskDataRequestSchema,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import {
  SetVariableRequestSchema,
  SetVariablesRequestSchema,
  VariableType,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import { toFrame } from "../wire/grpc-frames.ts";
import { stampedText, stampPositions, writeStamp } from "../wire/stamp.ts";
import { variableName } from "../wire/variable-updates.ts";

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

  /** For SetVariables: the first so many variables of the workflow. */
  static ofVariables(workflowId: string, variables: number, payloadBytes: number): MessageTemplate {
    const assignments = Array.from({ length: variables }, (_, n) => assignment(n, payloadBytes));
    const message = create(SetVariablesRequestSchema, { workflowId, assignments });
    return new MessageTemplate(toBinary(SetVariablesRequestSchema, message));
  }

  /** For SetVariable. */
  static ofVariable(workflowId: string, n: number, payloadBytes: number): MessageTemplate {
    const message = create(SetVariableRequestSchema, { workflowId, assignment: assignment(n, payloadBytes) });
    return new MessageTemplate(toBinary(SetVariableRequestSchema, message));
  }

  stamped(us: number): Buffer {
    const frame = Buffer.from(this.#frame);
    writeStamp(frame, this.#positions, us);
    return frame;
  }
}

const assignment = (n: number, payloadBytes: number) => ({
  name: variableName(n),
  type: VariableType.STRING,
  value: { kind: { case: "stringValue", value: stampedText(0, payloadBytes) } } as const,
});
