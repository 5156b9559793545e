/** MemoryService: decode, call core, encode. */
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import {
  type CreateMemorySpaceRequest,
  type GetObservationRequest,
  type ListMemorySpacesRequest,
  MemoryService,
  type ObservationBatch,
  ObserveStreamInitSchema,
  type ObserveStreamRequest,
  type RecallStreamRequest,
  type SpaceRetention as SpaceRetentionMessage,
  type UpdateMemorySpaceRequest,
} from "../../gen/tributary/v1/memory_service_pb.ts";
import { toCallOwner } from "../auth/principal.ts";
import { DomainError } from "../core/errors.ts";
import type { SpaceRetention } from "../core/memory/memory-store.ts";
import { type RecallDeps, recall } from "../core/memory/recall.ts";
import { accessOf, principalOf } from "./context.ts";
import { toCallError } from "./error-mapping.ts";
import { memoryFlow } from "./memory-flow.ts";
import { toObservation, toObservationBatch, toSpaceMessage } from "./observations.ts";
import { fromPageToken, pageSizeOf, spacePosition, toPageToken } from "./page-token.ts";
import { toRecallMessage, toRecallRequest } from "./recall-messages.ts";
import { type SessionCallDeps, type SessionKind, sessionCall } from "./session-call.ts";

export interface MemoryServiceDeps extends RecallDeps, SessionCallDeps {}

export function memoryService(router: ConnectRouter, deps: MemoryServiceDeps): void {
  router.service(MemoryService, {
    observeStream: (requests, context) => observeStream(deps, requests, context),
    recallStream: (request, context) => recallStream(deps, request, context),
    memoryFlow: (requests, context) => memoryFlow(deps, requests, context),
    createMemorySpace: (request, context) => createMemorySpace(deps, request, context),
    updateMemorySpace: (request, context) => updateMemorySpace(deps, request, context),
    listMemorySpaces: (request, context) => listMemorySpaces(deps, request, context),
    getObservation: (request, context) => getObservation(deps, request, context),
  });
}

function observeStream(
  deps: MemoryServiceDeps,
  requests: AsyncIterable<ObserveStreamRequest>,
  context: HandlerContext,
) {
  const kind: SessionKind<typeof ObserveStreamInitSchema, ObservationBatch> = {
    initSchema: ObserveStreamInitSchema,
    async open(access, init) {
      const { streamId } = await deps.spaces.require(access, init.space);
      return {
        target: { streamId, workflow: undefined, space: init.space },
        toBatch: (batch) => toObservationBatch(batch, deps.databaseNow()),
      };
    },
  };
  return sessionCall(deps, kind, requests, context);
}

async function* recallStream(deps: MemoryServiceDeps, request: RecallStreamRequest, context: HandlerContext) {
  try {
    const owner = toCallOwner(principalOf(context));
    const asked = toRecallRequest(request);
    for await (const message of recall(deps, accessOf(context), owner, asked, context.signal)) {
      yield { message: toRecallMessage(message) };
    }
  } catch (error) {
    throw toCallError(error, context, deps.logBug);
  }
}

async function createMemorySpace(
  { spaces }: MemoryServiceDeps,
  { space, displayName, retention }: CreateMemorySpaceRequest,
  context: HandlerContext,
) {
  const wanted = { space, displayName, retention: toRetention(retention) };
  return { memorySpace: toSpaceMessage(await spaces.create(accessOf(context), wanted)) };
}

async function updateMemorySpace(
  { spaces }: MemoryServiceDeps,
  { space, displayName, retention }: UpdateMemorySpaceRequest,
  context: HandlerContext,
) {
  const change = { displayName, retention: retention && toRetention(retention) };
  return { memorySpace: toSpaceMessage(await spaces.update(accessOf(context), space, change)) };
}

async function listMemorySpaces(
  deps: MemoryServiceDeps,
  { pageSize, pageToken }: ListMemorySpacesRequest,
  context: HandlerContext,
) {
  const after = fromPageToken(pageToken, spacePosition)?.space ?? "";
  const { spaces, next } = await deps.spaces.list(accessOf(context), pageSizeOf(pageSize), after);
  return {
    memorySpaces: spaces.map(toSpaceMessage),
    nextPageToken: toPageToken(next === undefined ? undefined : { space: next }),
  };
}

async function getObservation(
  deps: MemoryServiceDeps,
  request: GetObservationRequest,
  context: HandlerContext,
) {
  const { streamId, space } = await deps.spaces.require(accessOf(context), request.space);
  const { key } = request;
  const found = await deps.memory.findObservation(
    streamId,
    key.case === "offset" ? { offset: Number(key.value) } : { observationId: key.value ?? "" },
  );
  if (found === undefined) {
    const [field, value] =
      key.case === "offset" ? ["offset", key.value] : ["observation_id", JSON.stringify(key.value)];
    throw new DomainError("not_found", `${field}: there is no observation ${value} in space ${space}`);
  }
  return { observation: toObservation(found) };
}

const toRetention = (retention: SpaceRetentionMessage | undefined): SpaceRetention => ({
  maxAgeMs: Number(retention?.maxAgeMs ?? 0n),
  maxObservations: Number(retention?.maxObservations ?? 0n),
});
