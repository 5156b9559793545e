/** The streams of events that one reader follows, and what each follows: served by direct-streams.ts, else through Connect. */
import type { DescMessage, DescMethodServerStreaming, Message, MessageShape } from "@bufbuild/protobuf";
import type { StreamOptions } from "../../gen/tributary/v1/event_pb.ts";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import type { Target } from "../core/subscribe.ts";

/** Answers with messages whose first field is a StreamMessage. */
export interface EventStream {
  readonly method: DescMethodServerStreaming;
  toTarget(input: Message): Target;
}

export type EventStreamRequest = Message & { readonly options?: StreamOptions | undefined };

function eventStream<I extends DescMessage>(
  method: DescMethodServerStreaming<I, DescMessage>,
  toTarget: (input: MessageShape<I>) => Target,
): EventStream {
  return { method, toTarget: toTarget as EventStream["toTarget"] };
}

const { method } = EventStreamService;

export const eventStreams = {
  workflow: eventStream(method.streamWorkflow, ({ workflowId }) => ({ kind: "workflow", workflowId })),
  consolidated: eventStream(method.streamWorkflowConsolidated, ({ workflowId }) => ({
    kind: "consolidated",
    workflowId,
  })),
  task: eventStream(method.streamTask, ({ workflowId, taskExecutionId }) => ({
    kind: "task",
    workflowId,
    taskExecutionId,
  })),
};
