/** EventStreamService: decode, follow, encode. What has labels is in stream-many.ts. */
import { create, type Message } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import type { StreamMessage } from "../../gen/tributary/v1/event_pb.ts";
import {
  EventStreamService,
  type ReadEventsRequest,
} from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { toCallOwner } from "../auth/principal.ts";
import { DomainError } from "../core/errors.ts";
import type { Page } from "../core/ports.ts";
import { type SubscribeDeps, subscribe, toFilter, toScopeKey } from "../core/subscribe.ts";
import { accessOf, notesKey, principalOf } from "./context.ts";
import { toEvent, toStreamMessage, toSubscribeOptions } from "./conversions.ts";
import { encodeEvents } from "./encoded-events.ts";
import { type LogBug, toCallError } from "./error-mapping.ts";
import { type EventStream, type EventStreamRequest, eventStreams } from "./event-streams.ts";
import { pageSizeOf } from "./page-token.ts";
import { answersJson, multiplex, streamMany } from "./stream-many.ts";

export interface EventStreamDeps extends SubscribeDeps {
  readonly logBug: LogBug;
}

export function eventStreamService(router: ConnectRouter, deps: EventStreamDeps): void {
  router.service(EventStreamService, {
    streamWorkflow: (request, context) => answers(deps, eventStreams.workflow, request, context),
    streamWorkflowConsolidated: (request, context) =>
      answers(deps, eventStreams.consolidated, request, context),
    streamTask: (request, context) => answers(deps, eventStreams.task, request, context),
    streamMany: (request, context) => streamMany(deps, request, context),
    multiplex: (requests, context) => multiplex(deps, requests, context),
    readEvents: (request, context) => readEvents(deps, request, context),
  });
}

async function* answers(
  deps: EventStreamDeps,
  { method, toTarget }: EventStream,
  request: EventStreamRequest,
  context: HandlerContext,
): AsyncGenerator<never> {
  const isJson = answersJson(context);
  const span = context.values.get(notesKey)?.span;
  try {
    const subscription = subscribe(
      deps,
      accessOf(context),
      toCallOwner(principalOf(context)),
      toTarget(request),
      toSubscribeOptions(request.options),
      context.signal,
    );
    for await (const message of subscription) {
      const answer = create(method.output) as Message & { message?: StreamMessage };
      if (message.kind === "events" && !isJson) answer.$unknown = encodeEvents(message.events);
      else answer.message = toStreamMessage(message);
      if (message.kind === "events") span?.delivered(message.events);
      yield answer as never; // the method's output
    }
  } catch (error) {
    throw toCallError(error, context, deps.logBug);
  }
}

async function readEvents(deps: EventStreamDeps, request: ReadEventsRequest, context: HandlerContext) {
  const access = accessOf(context);
  const { identity } = await deps.registry.require(access, request.workflowId);
  const limit = pageSizeOf(request.limit);
  const cursor = Number(request.cursor);
  const page = await deps.store.readPage({
    streamId: identity.streamId,
    scope: toScopeKey(identity, {
      kind: request.consolidated ? "consolidated" : "workflow",
      workflowId: identity.workflowId,
    }),
    filter: toFilter(access, request.types, request.taskExecutionIds),
    cursor: request.descending && cursor === 0 ? Number.MAX_SAFE_INTEGER : cursor,
    upTo: Number.MAX_SAFE_INTEGER,
    descending: request.descending,
    limit,
  });
  if (page === undefined) {
    deps.registry.forget(identity.workflowId);
    throw new DomainError("not_found", `workflow ${identity.workflowId} does not exist any more`);
  }
  if (!request.descending && cursor > page.tailOffset) {
    throw new DomainError(
      "out_of_range",
      `cursor: ${cursor} is beyond the tail of the stream, which is ${page.tailOffset}`,
    );
  }
  context.values.get(notesKey)?.span?.delivered(page.events);
  return {
    events: page.events.map(toEvent),
    nextCursor: BigInt(
      request.descending ? Math.max(page.scannedTo, 0) : Math.min(page.scannedTo, page.tailOffset),
    ),
    more: hasMore(page, request.descending),
    tailOffset: BigInt(page.tailOffset),
    floorOffset: BigInt(page.floorOffset),
  };
}

/** Descending, the cursor is the last offset looked at: below it there is more until 1, or the floor, is reached. */
function hasMore(page: Page, descending: boolean): boolean {
  return descending ? page.scannedTo > page.floorOffset + 1 : page.scannedTo < page.tailOffset;
}
