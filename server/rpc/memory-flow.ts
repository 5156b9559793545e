/** MemoryFlow: decode, run the flow, encode. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import {
  type MemoryFlowRequest,
  type MemoryFlowResponseSchema,
  MemoryService,
  type ObservationBatch,
  ObserveStreamInitSchema,
  RecallStreamRequestSchema,
} from "../../gen/tributary/v1/memory_service_pb.ts";
import { assertAllowed, type Rule, ruleOf } from "../auth/access-rules.ts";
import { type Principal, toCallOwner } from "../auth/principal.ts";
import { DomainError } from "../core/errors.ts";
import { type FlowDeps, type FlowInput, type FlowOutput, memoryFlow as flow } from "../core/memory/flow.ts";
import { accessOf, principalOf, traceOf } from "./context.ts";
import { type LogBug, toCallError, toStreamError } from "./error-mapping.ts";
import { toObservationBatch } from "./observations.ts";
import { toRecallMessage, toRecallRequest } from "./recall-messages.ts";
import { assertValidInit, toSessionInput } from "./session-call.ts";
import { toReply, toSessionInit } from "./session-messages.ts";
import { invalidReason } from "./validation.ts";

export interface MemoryFlowDeps extends FlowDeps {
  readonly logBug: LogBug;
}

export async function* memoryFlow(
  deps: MemoryFlowDeps,
  requests: AsyncIterable<MemoryFlowRequest>,
  context: HandlerContext,
) {
  try {
    const principal = principalOf(context);
    const inputs = toInputs(requests, principal, () => deps.databaseNow(), traceOf(context));
    const outputs = flow(deps, accessOf(context), toCallOwner(principal), inputs, context.signal);
    for await (const output of outputs) {
      yield toResponse(output, deps.logBug);
    }
  } catch (error) {
    throw toCallError(error, context, deps.logBug);
  }
}

async function* toInputs(
  requests: AsyncIterable<MemoryFlowRequest>,
  principal: Principal,
  now: () => number,
  trace: string | undefined,
): AsyncGenerator<FlowInput> {
  for await (const { operation } of requests) {
    switch (operation.case) {
      case "init": {
        const { session, space } = operation.value;
        assertValidInit(ObserveStreamInitSchema, operation.value);
        const { target: _, ...init } = toSessionInit(session, {
          streamId: "",
          workflow: undefined,
          space: undefined,
        });
        yield { kind: "init", space, session: { ...init, trace } };
        break;
      }
      case "recall": {
        const { label, request } = operation.value;
        yield { kind: "recall", label, request: toRequest(principal, request) };
        break;
      }
      case "cancel":
        yield { kind: "cancel", label: operation.value.label };
        break;
      default: {
        const input = toSessionInput<ObservationBatch>(operation, (batch) =>
          toObservationBatch(batch, now()),
        );
        yield { kind: "session", input };
      }
    }
  }
}

/** Who may open a flow may write; recalling needs what RecallStream needs. */
function toRequest(principal: Principal, message: Parameters<typeof toRecallRequest>[0] | undefined) {
  try {
    assertAllowed(ruleOf(MemoryService.typeName, MemoryService.method.recallStream.name) as Rule, principal);
  } catch (error) {
    return error as DomainError;
  }
  if (message === undefined) {
    return new DomainError("invalid_argument", "recall.request: missing; say what to recall");
  }
  const reason = invalidReason(RecallStreamRequestSchema, message);
  return reason === undefined ? toRecallRequest(message) : new DomainError("invalid_argument", reason);
}

function toResponse(output: FlowOutput, logBug: LogBug): MessageInitShape<typeof MemoryFlowResponseSchema> {
  if (output.kind === "reply") return { message: { case: "reply", value: toReply(output.reply) } };
  const { label } = output;
  switch (output.kind) {
    case "recall": {
      const result = { case: "message" as const, value: toRecallMessage(output.message) };
      return { message: { case: "recall", value: { label, result } } };
    }
    case "error": {
      const error = toStreamError(output.error, logBug);
      return { message: { case: "recall", value: { label, result: { case: "error", value: error } } } };
    }
    case "done":
      return { message: { case: "recall", value: { label, result: { case: "done", value: {} } } } };
  }
}
