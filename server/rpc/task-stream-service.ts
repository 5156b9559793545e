/** TaskStreamService: one event, many events of a call; sessions are in publish-task-stream.ts. */
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import {
  PublishTaskEventsProgressSchema,
  type PublishTaskEventsRequest,
  PublishTaskEventsRequestSchema,
  type StreamTaskDataRequest,
  type TaskEvent,
  TaskEventSchema,
  TaskStreamService,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { type Principal, toAccess, toCallOwner } from "../auth/principal.ts";
import type { Access } from "../core/access.ts";
import type { CallNotes } from "../core/call-notes.ts";
import { DomainError } from "../core/errors.ts";
import { type NewEvent, payloadSize } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import type { OpenCall, OpenCalls } from "../core/open-call.ts";
import { PublishCall, type PublishDeps, publishOne } from "../core/publish.ts";
import { keptTrace, wrongTraceparent } from "../core/traceparent.ts";
import { accessOf, notesKey, principalOf, traceOf } from "./context.ts";
import { decodePublishTaskEvents } from "./decoded-events.ts";
import type { DirectIntake } from "./direct-calls.ts";
import { type LogBug, toConnectError } from "./error-mapping.ts";
import { type PublishTaskStreamDeps, publishTaskStream } from "./publish-task-stream.ts";
import { invalidReason } from "./validation.ts";

export interface TaskStreamDeps extends PublishDeps, PublishTaskStreamDeps {
  readonly calls: OpenCalls;
  /** ms by the database's clock: the time of an event that comes without one. */
  readonly databaseNow: () => number;
  readonly logBug: LogBug;
}

export function taskStreamService(router: ConnectRouter, deps: TaskStreamDeps): void {
  router.service(TaskStreamService, {
    streamTaskData: (request, context) => streamTaskData(deps, request, accessOf(context), traceOf(context)),
    publishTaskEvents: (requests, context) =>
      publishTaskEvents(deps, (until) => untilEnding(requests, until), {
        principal: principalOf(context),
        notes: context.values.get(notesKey),
        signal: context.signal,
      }),
    publishTaskStream: (requests, context) => publishTaskStream(deps, requests, context),
  });
}

const { publishTaskEvents: method } = TaskStreamService.method;

/** Many events, answered directly: see direct-calls.ts. */
export const directPublishing = (deps: TaskStreamDeps): DirectIntake => ({
  method,
  decode: decodePublishTaskEvents,
  async take(messages, call) {
    const answer = await publishTaskEvents(
      deps,
      (until) => messages(until) as AsyncIterable<PublishTaskEventsRequest>,
      call,
    );
    if (call.notes !== undefined) call.notes.messagesOut = 1;
    call.protocol.answer(call.response, toBinary(method.output, create(method.output, answer)));
  },
});

async function streamTaskData(
  deps: TaskStreamDeps,
  request: StreamTaskDataRequest,
  access: Access,
  trace: string | undefined,
) {
  assertNumbered(request.producerId, request.sequence, "sequence");
  const wrong = wrongTraceparent("traceparent", request.traceparent);
  if (wrong !== undefined) throw new DomainError("invalid_argument", wrong);
  const published = await publishOne(
    deps,
    access,
    {
      workflowId: request.workflowExecutionId,
      taskExecutionId: request.taskExecutionId,
      producerId: request.producerId,
      sequence: Number(request.sequence),
      type: request.type,
      payload: request.payload,
      timestampMs: Number(request.timestampMs) || deps.databaseNow(),
      traceparent: keptTrace(request.traceparent, trace),
    },
    request.waitForDurable,
    trace,
  );
  return {
    acknowledged: true,
    level: published.durable ? AckLevel.DURABLE : AckLevel.ACCEPTED,
    duplicate: published.duplicate,
    offset: BigInt(published.offset),
    cancelRequested: published.cancelRequested,
  };
}

/** Who publishes. */
interface Publisher {
  readonly principal: Principal;
  readonly notes: CallNotes | undefined;
  readonly signal: AbortSignal;
}

/** `messages`: end with the input, or with the signal that they are given. */
async function publishTaskEvents(
  deps: TaskStreamDeps,
  messages: (until: AbortSignal) => AsyncIterable<PublishTaskEventsRequest>,
  { principal, notes, signal }: Publisher,
) {
  const call = deps.calls.open("writer", toCallOwner(principal));
  // A drain or an expired credential must not wait for the client's next message.
  const ending = new AbortController();
  const end = () => ending.abort(endOfCall);
  const stopListening = call.onClosing(end);
  if (signal.aborted) end();
  else signal.addEventListener("abort", end);
  const trace = notes?.trace;
  const publishing = new PublishCall(
    deps,
    toAccess(principal),
    {
      signal: ending.signal,
      error: () => (signal.aborted ? (signal.reason as Error) : closedError(call)),
    },
    trace,
  );
  let taken = 0;
  let producerId: string | undefined;
  try {
    for await (const request of messages(ending.signal)) {
      producerId ??= request.producerId;
      taken = await addMessage(deps, publishing, request, producerId, taken, trace, signal);
      if (publishing.failure !== undefined) break;
    }
    if (call.closing !== undefined) publishing.fail(taken, closedError(call));
    // A deadline or a client that left is not the end of the input.
    if (signal.aborted) publishing.fail(taken, signal.reason as Error);
    await publishing.settled();
  } finally {
    stopListening();
    signal.removeEventListener("abort", end);
    call.end();
  }
  const { totals, failure } = publishing;
  if (failure === undefined) {
    return {
      accepted: BigInt(totals.accepted),
      duplicates: BigInt(totals.duplicates),
      lastOffset: BigInt(totals.lastOffset),
    };
  }
  const mapped = toConnectError(failure.error, deps.logBug, notes);
  mapped.details.push({
    desc: PublishTaskEventsProgressSchema,
    value: {
      accepted: BigInt(totals.accepted),
      duplicates: BigInt(totals.duplicates),
      failedIndex: BigInt(failure.index),
    },
  });
  throw mapped;
}

/** One for all: to make one, with its stack, costs 20 µs a call. */
const endOfCall = new DOMException("the call has to end", "AbortError");

/** Hands over the valid events of a message up to the first that is not; returns the count over the whole call. */
async function addMessage(
  deps: TaskStreamDeps,
  publishing: PublishCall,
  request: PublishTaskEventsRequest,
  producerId: string,
  taken: number,
  trace: string | undefined,
  signal: AbortSignal,
): Promise<number> {
  const wrong = wrongWithMessage(request, producerId);
  if (wrong !== undefined && wrong.index === undefined) {
    publishing.fail(taken, wrong.error);
    return taken;
  }
  const valid = wrong?.index === undefined ? request.events : request.events.slice(0, wrong.index);
  const now = deps.databaseNow();
  await publishing.add(
    valid.map((event) => toNewEvent(event, producerId, now, trace)),
    taken,
    signal,
  );
  if (wrong !== undefined) publishing.fail(taken + valid.length, wrong.error);
  return taken + request.events.length;
}

/** `index`: of the first event that is at fault; undefined: the message as a whole is. */
function wrongWithMessage(
  request: PublishTaskEventsRequest,
  producerId: string,
): { index: number | undefined; error: Error } | undefined {
  if (request.producerId !== producerId) {
    return whole(
      `producer_id: ${JSON.stringify(request.producerId)} differs from ${JSON.stringify(producerId)} of the first message; use one call for each producer`,
    );
  }
  const bytes = payloadBytesBeyond(limits.publishMessageBytes, request.events);
  if (bytes > 0) {
    return whole(
      `events: ${bytes} bytes of payload in one message, at most ${limits.publishMessageBytes}; send several messages`,
    );
  }
  const reason = invalidReason(PublishTaskEventsRequestSchema, request);
  const at = reason === undefined ? -1 : request.events.findIndex(isInvalid);
  if (reason !== undefined && at === -1) return whole(reason);
  // What comes before the first event at fault is stored: so the first of all kinds of faults counts.
  const before = at === -1 ? request.events : request.events.slice(0, at);
  let index = 0;
  for (const event of before) {
    const error = wrongWithEvent(event, index, producerId);
    if (error !== undefined) return { index, error };
    index++;
  }
  return reason === undefined ? undefined : { index: at, error: invalid(reason) };
}

/** Bytes of all payloads if they are more than so many, else 0. A unit of UTF-16 has three bytes at most: mostly nothing is counted. */
function payloadBytesBeyond(most: number, events: readonly TaskEvent[]): number {
  let atMost = 0;
  for (const { payload } of events) atMost += (payload.value?.length ?? 0) * 3;
  if (atMost <= most) return 0;
  const bytes = events.reduce((sum, { payload }) => sum + payloadSize(payload.value), 0);
  return bytes > most ? bytes : 0;
}

/** What the rules of the proto cannot say. */
function wrongWithEvent(event: TaskEvent, index: number, producerId: string): Error | undefined {
  if (event.workflowId === "")
    return invalid(`events[${index}].workflow_id: empty; outside a session every event names its workflow`);
  if (producerId !== "" && event.sequence === 0n)
    return unnumberedError(`events[${index}].sequence`, producerId);
  if (event.traceparent === "") return undefined;
  const wrong = wrongTraceparent(`events[${index}].traceparent`, event.traceparent);
  return wrong === undefined ? undefined : invalid(wrong);
}

const isInvalid = (event: TaskEvent): boolean => invalidReason(TaskEventSchema, event) !== undefined;
const whole = (message: string) => ({ index: undefined, error: invalid(message) });
const invalid = (message: string) => new ConnectError(message, Code.InvalidArgument);

function assertNumbered(producerId: string, sequence: bigint, field: string): void {
  if (producerId !== "" && sequence === 0n) throw unnumberedError(field, producerId);
}

const unnumberedError = (field: string, producerId: string) =>
  new DomainError(
    "invalid_argument",
    `${field}: 0, though producer_id ${JSON.stringify(producerId)} is given; number the producer's events 1, 2, 3 …, or leave producer_id out`,
  );

function toNewEvent(event: TaskEvent, producerId: string, now: number, trace: string | undefined): NewEvent {
  return {
    workflowId: event.workflowId,
    taskExecutionId: event.taskExecutionId,
    producerId,
    sequence: Number(event.sequence),
    type: event.type,
    payload: event.payload.value,
    timestampMs: Number(event.timestampMs) || now,
    traceparent: keptTrace(event.traceparent, trace),
  };
}

/**
 * The messages until the signal. Each round has a promise of its own: racing against one that lasts as long as the call would
 * keep every message until its end.
 */
async function* untilEnding<T>(messages: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  let endRound = () => {};
  const end = () => endRound();
  signal.addEventListener("abort", end, { once: true });
  const iterator = messages[Symbol.asyncIterator]();
  try {
    while (!signal.aborted) {
      const result = await new Promise<IteratorResult<T> | undefined>((resolve, reject) => {
        endRound = () => resolve(undefined);
        iterator.next().then(resolve, reject);
      });
      if (result === undefined || result.done === true) return;
      yield result.value;
    }
  } finally {
    signal.removeEventListener("abort", end);
  }
}

function closedError(call: OpenCall): DomainError {
  switch (call.closing?.reason) {
    case "credential_expired":
    case "revoked":
      return new DomainError(
        "unauthenticated",
        "the credential expired or was revoked during the call; use another one",
      );
    default:
      return new DomainError("unavailable", "this server stops; send the rest to another one");
  }
}
