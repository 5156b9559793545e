/** ListSessions and CloseSession of AdminService. */
import type { HandlerContext } from "@connectrpc/connect";
import type {
  CloseSessionRequest,
  ListSessionsRequest,
  Session as SessionMessage,
} from "../../gen/tributary/v1/admin_service_pb.ts";
import type { SessionState } from "../../gen/tributary/v1/session_pb.ts";
import { DomainError } from "../core/errors.ts";
import type { SessionRecord, SessionStore } from "../core/session/session-store.ts";
import type { Sessions } from "../core/session/sessions.ts";
import { principalOf } from "./context.ts";
import { fromPageToken, pageSizeOf, sessionPosition, toPageToken } from "./page-token.ts";

export interface SessionAdminDeps {
  readonly sessions: Sessions;
  readonly sessionStore: SessionStore;
}

export async function listSessions(
  deps: SessionAdminDeps,
  request: ListSessionsRequest,
  context: HandlerContext,
) {
  const principal = principalOf(context);
  const own = principal.kind === "admin" ? undefined : principal.tenant;
  if (own !== undefined && request.tenantSlug !== "" && request.tenantSlug !== own) {
    throw new DomainError(
      "permission_denied",
      `tenant_slug: ${request.tenantSlug} is not the tenant of the credential`,
    );
  }
  const page = await deps.sessionStore.list(
    {
      tenant: own ?? (request.tenantSlug === "" ? undefined : request.tenantSlug),
      state: request.state === 0 ? undefined : request.state,
      sessionId: request.sessionId === "" ? undefined : request.sessionId.toLowerCase(),
    },
    pageSizeOf(request.pageSize),
    fromPageToken(request.pageToken, sessionPosition),
  );
  return {
    sessions: page.sessions.map((record) => toMessage(deps.sessions.withLiveState(record))),
    nextPageToken: toPageToken(page.next),
  };
}

export async function closeSession(
  deps: SessionAdminDeps,
  { sessionId }: CloseSessionRequest,
  context: HandlerContext,
) {
  const principal = principalOf(context);
  const record = await deps.sessionStore.find(sessionId.toLowerCase());
  if (record === undefined) {
    throw new DomainError("not_found", `session_id: ${sessionId} does not exist; see ListSessions`);
  }
  if (principal.kind !== "admin" && principal.tenant !== record.tenant) {
    throw new DomainError("permission_denied", `session_id: ${sessionId} belongs to another tenant`);
  }
  await deps.sessions.end(record);
  return { session: toMessage((await deps.sessionStore.find(record.sessionId)) ?? record) };
}

const toMessage = (record: SessionRecord): Omit<SessionMessage, "$typeName" | "$unknown"> => ({
  sessionId: record.sessionId,
  tenantSlug: record.tenant,
  workflowId: record.workflowId ?? "",
  space: record.space ?? "",
  state: record.state as SessionState,
  lastSequence: BigInt(record.lastSequence),
  epoch: BigInt(record.epoch),
  createdMs: BigInt(record.createdMs),
  lastActivityMs: BigInt(record.lastActivityMs),
  leaseExpiresMs: BigInt(record.leaseExpiresMs),
});
