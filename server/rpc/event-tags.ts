/** The tags of the messages that carry events, as the wire has them. */
import { EventBatchSchema, EventSchema, StreamMessageSchema } from "../../gen/tributary/v1/event_pb.ts";
import { lengthDelimited, tagOf, varint } from "./wire-tag.ts";

export const tags = {
  events: tagOf(StreamMessageSchema, "events", lengthDelimited),
  event: tagOf(EventBatchSchema, "events", lengthDelimited),
  workflowId: tagOf(EventSchema, "workflow_id", lengthDelimited),
  taskExecutionId: tagOf(EventSchema, "task_execution_id", lengthDelimited),
  offset: tagOf(EventSchema, "offset", varint),
  sequence: tagOf(EventSchema, "sequence", varint),
  type: tagOf(EventSchema, "type", varint),
  text: tagOf(EventSchema, "text", lengthDelimited),
  binary: tagOf(EventSchema, "binary", lengthDelimited),
  timestampMs: tagOf(EventSchema, "timestamp_ms", varint),
  recordedMs: tagOf(EventSchema, "recorded_ms", varint),
  producerId: tagOf(EventSchema, "producer_id", lengthDelimited),
  replaced: tagOf(EventSchema, "replaced", varint),
  traceparent: tagOf(EventSchema, "traceparent", lengthDelimited),
};
