/** An event as the JSON that Tributary's Server-Sent Events carry, so that all contenders over HTTP/1.1 send the same. */
import type { TaskEvent } from "../../gen/tributary/v1/task_stream_service_pb.ts";

export const toPlain = ({ workflowId, taskExecutionId, payload }: TaskEvent, offset: number) => ({
  type: "TOKEN",
  workflowExecutionId: workflowId,
  taskExecutionId,
  sequence: 0,
  offset,
  payload: payload.case === "text" ? payload.value : "",
  timestampMs: Date.now(),
  recordedMs: Date.now(),
});

/** A name of the event and its position beside it, as Server-Sent Events have them. */
export const toRecord = (event: TaskEvent, offset: number): Buffer =>
  Buffer.from(`event: token\nid: ${offset}\ndata: ${JSON.stringify(toPlain(event, offset))}\n\n`);
