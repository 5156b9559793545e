/**
 * WatchVariables: decode, watch, encode. Bytes of an update are made once for all watchers; a message is put together from
 * them and reaches Connect as an unknown field, which is written as it stands (as in encoded-events.ts). JSON has no place
 * for such bytes: there the messages themselves go.
 */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type WatchVariablesRequest,
  type WatchVariablesResponse,
  WatchVariablesResponseSchema,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import { toCallOwner } from "../auth/principal.ts";
import { limits } from "../core/limits.ts";
import type { VariableUpdate } from "../core/variables/update.ts";
import {
  type WatchDeps,
  type WatchMessage,
  type WatchRequest,
  watchVariables,
} from "../core/variables/watch.ts";
import { accessOf, principalOf } from "./context.ts";
import { toStreamOneof } from "./conversions.ts";
import { encodeUpdate, joinUpdates } from "./encoded-updates.ts";
import { type LogBug, toCallError } from "./error-mapping.ts";
import { toUpdateMessage } from "./variable-messages.ts";

export interface VariableWatchDeps extends WatchDeps {
  readonly logBug: LogBug;
}

export async function* watch(
  deps: VariableWatchDeps,
  request: WatchVariablesRequest,
  context: HandlerContext,
): AsyncGenerator<WatchVariablesResponse> {
  const isJson = context.responseHeader.get("content-type")?.includes("json") === true;
  try {
    const owner = toCallOwner(principalOf(context));
    const asked = toWatchRequest(request);
    for await (const message of watchVariables(deps, accessOf(context), owner, asked, context.signal)) {
      if (message.kind === "updates") yield* batches(message.updates, isJson);
      else yield create(WatchVariablesResponseSchema, { message: toOneof(message) });
    }
  } catch (error) {
    throw toCallError(error, context, deps.logBug);
  }
}

function toWatchRequest(request: WatchVariablesRequest): WatchRequest {
  const { options } = request;
  return {
    workflowId: request.workflowId,
    names: request.names,
    includeInitialValues: request.includeInitialValues,
    allowMissing: request.allowMissing,
    options: {
      start: options?.start.case === "afterOffset" ? Number(options.start.value) : "latest",
      minIntervalMs: options?.minIntervalMs ?? 0,
      heartbeatIntervalMs: options?.heartbeatIntervalMs ?? 0,
      idleTimeoutMs: options?.idleTimeoutMs ?? 0,
      expectedEpoch: Number(options?.expectedEpoch ?? 0n),
      conflateTypes: options?.conflateTypes ?? [],
    },
  };
}

type Oneof = NonNullable<MessageInitShape<typeof WatchVariablesResponseSchema>["message"]>;

function toOneof(message: Exclude<WatchMessage, { kind: "updates" }>): Oneof {
  if (message.kind === "snapshot_complete") {
    return { case: "snapshotComplete", value: { offset: BigInt(message.offset) } };
  }
  return toStreamOneof(message) as Exclude<ReturnType<typeof toStreamOneof>, { case: "events" }>;
}

/** Messages of at most 1 MiB, encoded: as JSON in the table, a list of numbers is a fifth of that. One is made at a time. */
function* batches(updates: readonly VariableUpdate[], isJson: boolean): Generator<WatchVariablesResponse> {
  let pending: { readonly update: VariableUpdate; readonly bytes: Uint8Array }[] = [];
  let size = 0;
  const flush = () => {
    const batch = isJson
      ? create(WatchVariablesResponseSchema, {
          message: {
            case: "updates",
            value: { updates: pending.map(({ update }) => toUpdateMessage(update)) },
          },
        })
      : toBatch(pending.map(({ bytes }) => bytes));
    pending = [];
    size = 0;
    return batch;
  };
  for (const update of updates) {
    const bytes = encodeUpdate(update);
    if (pending.length > 0 && size + bytes.length > limits.batchBytes) yield flush();
    pending.push({ update, bytes });
    size += bytes.length + 4;
  }
  if (pending.length > 0) yield flush();
}

function toBatch(updates: readonly Uint8Array[]): WatchVariablesResponse {
  const answer = create(WatchVariablesResponseSchema);
  answer.$unknown = joinUpdates(updates);
  return answer;
}
