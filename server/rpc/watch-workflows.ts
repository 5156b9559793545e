/** WatchWorkflows: watch, encode. A batch is encoded once for all watchers that get it. */
import { create, type MessageInitShape, toBinary, type UnknownField } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type WatchWorkflowsRequest,
  type WatchWorkflowsResponse,
  WatchWorkflowsResponseSchema,
  WorkflowBatchSchema,
} from "../../gen/tributary/v1/workflow_service_pb.ts";
import { toCallOwner } from "../auth/principal.ts";
import type { WorkflowBatch } from "../core/watch/changes.ts";
import { type WatchDeps, type WatchMessage, watchWorkflows as watch } from "../core/watch/watch.ts";
import { accessOf, principalOf } from "./context.ts";
import { toClosing, toWorkflowMessage } from "./conversions.ts";
import { type LogBug, toCallError } from "./error-mapping.ts";

export interface WatchWorkflowsDeps extends WatchDeps {
  readonly logBug: LogBug;
}

export async function* watchWorkflows(
  deps: WatchWorkflowsDeps,
  request: WatchWorkflowsRequest,
  context: HandlerContext,
): AsyncGenerator<WatchWorkflowsResponse> {
  const isJson = context.responseHeader.get("content-type")?.includes("json") === true;
  try {
    const messages = watch(
      deps,
      accessOf(context),
      toCallOwner(principalOf(context)),
      request,
      context.signal,
    );
    for await (const message of messages) {
      if (message.kind === "workflows" && !isJson) {
        const answer = create(WatchWorkflowsResponseSchema);
        answer.$unknown = encode(message.batch);
        yield answer;
      } else yield create(WatchWorkflowsResponseSchema, { message: toOneof(message) });
    }
  } catch (error) {
    throw toCallError(error, context, deps.logBug);
  }
}

type Oneof = NonNullable<MessageInitShape<typeof WatchWorkflowsResponseSchema>["message"]>;

function toOneof(message: WatchMessage): Oneof {
  switch (message.kind) {
    case "workflows":
      return { case: "workflows", value: toBatch(message.batch) };
    case "snapshot_complete":
      return { case: "snapshotComplete", value: {} };
    case "heartbeat":
      return { case: "heartbeat", value: {} };
    case "closing":
      return { case: "closing", value: toClosing(message) };
  }
}

const toBatch = ({ workflows, deleted }: WorkflowBatch) =>
  create(WorkflowBatchSchema, {
    workflows: workflows.map(toWorkflowMessage),
    deletedWorkflowIds: [...deleted],
  });

const encoded = new WeakMap<WorkflowBatch, UnknownField[]>();

/** The bytes reach Connect as an unknown field, which is written as it stands (see encoded-events.ts). */
function encode(batch: WorkflowBatch): UnknownField[] {
  let fields = encoded.get(batch);
  if (fields === undefined) {
    const data = new BinaryWriter().bytes(toBinary(WorkflowBatchSchema, toBatch(batch))).finish();
    fields = [
      { no: WatchWorkflowsResponseSchema.field.workflows.number, wireType: WireType.LengthDelimited, data },
    ];
    encoded.set(batch, fields);
  }
  return fields;
}
