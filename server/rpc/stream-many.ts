/**
 * StreamMany and Multiplex: decode, run, encode. Each target is judged by itself: one that is wrong is an error of its label.
 * What is wrong with the call itself (no targets, a label that is in use) is its status.
 */
import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import type { HandlerContext } from "@connectrpc/connect";
import { StreamErrorSchema } from "../../gen/tributary/v1/event_pb.ts";
import {
  type MultiplexRequest,
  type MultiplexResponse,
  MultiplexResponseSchema,
  type StreamManyRequest,
  type StreamManyResponse,
  StreamManyResponseSchema,
  StreamScope,
  type StreamTarget,
  StreamTargetSchema,
  UnsubscribedSchema,
} from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { toCallOwner } from "../auth/principal.ts";
import { DomainError } from "../core/errors.ts";
import { limits } from "../core/limits.ts";
import type { MultiplexInput, MultiplexOutput, Start } from "../core/multiplex.ts";
import { type SubscribeDeps, type Subscriber, subscribeMany, type Target } from "../core/subscribe.ts";
import { accessOf, notesKey, principalOf } from "./context.ts";
import { toStreamMessage, toSubscribeOptions } from "./conversions.ts";
import { encodeEvents } from "./encoded-events.ts";
import { type LogBug, toCallError, toStreamError } from "./error-mapping.ts";
import { invalidReason } from "./validation.ts";

export interface StreamManyDeps extends SubscribeDeps {
  readonly logBug: LogBug;
}

export const answersJson = (context: HandlerContext): boolean =>
  context.responseHeader.get("content-type")?.includes("json") === true;

export const streamMany = (
  deps: StreamManyDeps,
  { targets }: StreamManyRequest,
  context: HandlerContext,
): AsyncGenerator<StreamManyResponse> =>
  answers(deps, StreamManyResponseSchema, context, (subscriber) => {
    assertNumber(targets.length);
    return { first: fromTargets(targets, subscriber), further: undefined };
  });

export const multiplex = (
  deps: StreamManyDeps,
  requests: AsyncIterable<MultiplexRequest>,
  context: HandlerContext,
): AsyncGenerator<MultiplexResponse> =>
  answers(deps, MultiplexResponseSchema, context, (subscriber) => ({
    first: [],
    further: fromRequests(requests, subscriber),
  }));

async function* answers<S extends DescMessage>(
  deps: StreamManyDeps,
  schema: S,
  context: HandlerContext,
  toInputs: Parameters<typeof subscribeMany>[3],
): AsyncGenerator<MessageShape<S>> {
  const isJson = answersJson(context);
  const span = context.values.get(notesKey)?.span;
  try {
    const owner = toCallOwner(principalOf(context));
    const outputs = subscribeMany(deps, accessOf(context), owner, toInputs, context.signal);
    for await (const output of outputs) {
      const answer = create(schema) as unknown as MultiplexResponse;
      fill(answer, output, isJson, deps.logBug);
      if (output.kind === "message" && output.message.kind === "events") {
        span?.delivered(output.message.events);
      }
      yield answer as unknown as MessageShape<S>;
    }
  } catch (error) {
    throw toCallError(error, context, deps.logBug);
  }
}

/** StreamManyResponse is a MultiplexResponse that is never `unsubscribed`. */
function fill(answer: MultiplexResponse, output: MultiplexOutput, isJson: boolean, logBug: LogBug): void {
  answer.label = output.label;
  switch (output.kind) {
    case "message": {
      const { message } = output;
      if (message.kind === "events" && !isJson) answer.$unknown = encodeEvents(message.events, 2);
      else answer.result = { case: "message", value: toStreamMessage(message) };
      return;
    }
    case "error": {
      const value = create(StreamErrorSchema, toStreamError(output.error, logBug));
      answer.result = { case: "error", value };
      return;
    }
    case "unsubscribed":
      answer.result = { case: "unsubscribed", value: create(UnsubscribedSchema) };
  }
}

function assertNumber(targets: number): void {
  if (targets >= 1 && targets <= limits.multiplexLabels) return;
  throw new DomainError(
    "invalid_argument",
    `targets must hold 1–${limits.multiplexLabels}, found ${targets}; use several calls for more`,
  );
}

/** A label that several targets have is an error once, and none of them begins: nobody could tell whose a message is. */
function* fromTargets(targets: readonly StreamTarget[], subscriber: Subscriber): Generator<MultiplexInput> {
  const counts = new Map<string, number>();
  for (const { label } of targets) counts.set(label, (counts.get(label) ?? 0) + 1);
  for (const target of targets) {
    const { label } = target;
    const count = counts.get(label);
    counts.delete(label);
    if (count === undefined) continue;
    const start =
      count === 1
        ? toStart(target, subscriber)
        : invalid(`label: ${quote(label)} is that of ${count} targets; give each a label of its own`);
    yield { kind: "subscribe", label, initialGrant: undefined, start };
  }
}

async function* fromRequests(
  requests: AsyncIterable<MultiplexRequest>,
  subscriber: Subscriber,
): AsyncGenerator<MultiplexInput> {
  for await (const { operation } of requests) {
    switch (operation.case) {
      case "subscribe": {
        const { label, initialGrant } = operation.value;
        yield { kind: "subscribe", label, initialGrant, start: toStart(operation.value, subscriber) };
        break;
      }
      case "unsubscribe":
        yield { kind: "unsubscribe", label: operation.value.label };
        break;
      case "grant":
        yield { kind: "grant", label: operation.value.label, events: operation.value.events };
        break;
      default:
        yield {
          kind: "bad",
          error: invalid("operation: none is set; send subscribe, unsubscribe or grant"),
        };
    }
  }
}

function toStart(message: StreamTarget, subscriber: Subscriber): Start | DomainError {
  const reason = invalidReason(StreamTargetSchema, message);
  if (reason !== undefined) return invalid(reason);
  const { workflowId, taskExecutionId, scope } = message;
  if (scope === StreamScope.TASK && taskExecutionId === "") {
    return invalid("task_execution_id: missing; the scope TASK needs it");
  }
  const target: Target =
    scope === StreamScope.TASK
      ? { kind: "task", workflowId, taskExecutionId }
      : { kind: scope === StreamScope.CONSOLIDATED ? "consolidated" : "workflow", workflowId };
  return subscriber(target, toSubscribeOptions(message.options));
}

const invalid = (message: string) => new DomainError("invalid_argument", message);
const quote = (label: string) => JSON.stringify(label.slice(0, 64));
