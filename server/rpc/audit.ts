/**
 * One line for each act of administration and each refused attempt at one: who, what, on what, and how it ended. Never a
 * secret: what a line says is picked field by field below. Every RPC is named there, as an act or as none; one that is not
 * does not compile.
 *
 * A refusal before the body is read (no credential, wrong role) is written by the gate, everything else when the call is
 * decided. A body that cannot be decoded is an attempt at nothing.
 */
import type { DescMessage, DescMethodUnary, DescService, MessageShape } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from "@connectrpc/connect";
import { AdminService, type TenantLimits } from "../../gen/tributary/v1/admin_service_pb.ts";
import { EventStreamService } from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { MemoryService, type SpaceRetention } from "../../gen/tributary/v1/memory_service_pb.ts";
import { TaskStreamService } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { TokenService } from "../../gen/tributary/v1/token_service_pb.ts";
import { VariableService } from "../../gen/tributary/v1/variable_service_pb.ts";
import { WorkflowService } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { apiKeyPrefix } from "../auth/api-key.ts";
import { roleName } from "../auth/principal.ts";
import { principalKey } from "./context.ts";
import type { Gate } from "./interceptors.ts";

export interface AuditLine {
  /** What was done or tried, as "tenant.update". */
  readonly act: string;
  /** With what. "none": nothing was sent. "unknown": something whose owner is not known: wrong, revoked, expired, not checked. */
  readonly credential: "admin" | "api_key" | "dev_key" | "stream_token" | "none" | "unknown";
  /** Of an API key, also that with which a stream token was made; else empty. */
  readonly apiKeyId: string;
  /** Whose data it is about; empty: nobody's, or not known. */
  readonly tenant: string;
  /** The id of what it is about; empty if it was refused before the request was read. */
  readonly target: string;
  /** "OK", or the code of the error. */
  readonly outcome: string;
  /** The address at the other end of the connection. Behind a proxy that is the proxy's. */
  readonly peer: string;
  /** What was changed to what. */
  readonly detail: Readonly<Record<string, unknown>>;
}

export type WriteAudit = (line: AuditLine) => void;

interface About {
  readonly target: string;
  /** If not the credential's. */
  readonly tenant?: string | undefined;
  readonly detail?: Readonly<Record<string, unknown>>;
}

interface Act<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> {
  readonly act: string;
  /** `answer`: undefined if it failed. A method, so that acts of all RPCs fit in one table. */
  about(request: MessageShape<I>, answer: MessageShape<O> | undefined): About;
}

/** Each RPC of a service, as an act or as none. */
export type ActsOf<S extends DescService> = {
  readonly [M in keyof S["method"]]: S["method"][M] extends DescMethodUnary<infer I, infer O>
    ? Act<I, O> | undefined
    : undefined;
};

const admin: ActsOf<typeof AdminService> = {
  createTenant: {
    act: "tenant.create",
    about: ({ slug, limits, retentionMs, retentionEvents }) => ({
      target: slug,
      tenant: slug,
      detail: { ...limitsOf(limits), ...retentionOf({ retentionMs, retentionEvents }) },
    }),
  },
  updateTenant: {
    act: "tenant.update",
    about: ({ slug, limits, disabled, retentionMs, retentionEvents, displayName }) => ({
      target: slug,
      tenant: slug,
      detail: {
        ...limitsOf(limits),
        ...retentionOf({ retentionMs, retentionEvents }),
        ...(disabled === undefined ? {} : { disabled }),
        ...(displayName === undefined ? {} : { renamed: true }),
      },
    }),
  },
  createApiKey: {
    act: "key.create",
    about: ({ tenantSlug, roles }, answer) => ({
      target: answer?.apiKeyId ?? "",
      tenant: tenantSlug || undefined,
      detail: { roles: roles.length === 0 ? ["READ", "PUBLISH"] : roles.map(roleName) },
    }),
  },
  revokeApiKey: {
    act: "key.revoke",
    about: ({ apiKeyId }, answer) => ({ target: apiKeyId, tenant: answer?.apiKey?.tenantSlug }),
  },
  rotateSigningKey: {
    act: "signing_key.rotate",
    about: ({ retireOlder }, answer) => ({ target: answer?.signingKeyId ?? "", detail: { retireOlder } }),
  },
  closeSession: {
    act: "session.close",
    about: ({ sessionId }, answer) => ({ target: sessionId, tenant: answer?.session?.tenantSlug }),
  },
  listTenants: undefined,
  listApiKeys: undefined,
  listSessions: undefined,
  getStats: undefined,
  streamSystemEvents: undefined,
};

const workflows: ActsOf<typeof WorkflowService> = {
  deleteWorkflowTree: {
    act: "workflow_tree.delete",
    about: ({ workflowId }, answer) => ({
      target: workflowId,
      detail: answer === undefined ? {} : { deletedEvents: Number(answer.deletedEvents) },
    }),
  },
  createWorkflow: undefined,
  getWorkflow: undefined,
  listWorkflows: undefined,
  getWorkflowTree: undefined,
  closeWorkflow: undefined,
  requestCancel: undefined,
  watchWorkflows: undefined,
};

const memory: ActsOf<typeof MemoryService> = {
  createMemorySpace: {
    act: "memory_space.create",
    about: ({ space, retention }) => ({ target: space, detail: spaceRetentionOf(retention) }),
  },
  updateMemorySpace: {
    act: "memory_space.update",
    about: ({ space, retention, displayName }) => ({
      target: space,
      detail: { ...spaceRetentionOf(retention), ...(displayName === undefined ? {} : { renamed: true }) },
    }),
  },
  observeStream: undefined,
  recallStream: undefined,
  memoryFlow: undefined,
  listMemorySpaces: undefined,
  getObservation: undefined,
};

const tokens: ActsOf<typeof TokenService> = {
  createStreamToken: {
    act: "stream_token.create",
    about: ({ workflowIds, ttlSeconds, includeVariables }) => ({
      target: workflowIds.join(" "),
      detail: { ttlSeconds, includeVariables },
    }),
  },
};

const taskStreams: ActsOf<typeof TaskStreamService> = {
  streamTaskData: undefined,
  publishTaskEvents: undefined,
  publishTaskStream: undefined,
};

const eventStreams: ActsOf<typeof EventStreamService> = {
  streamWorkflow: undefined,
  streamWorkflowConsolidated: undefined,
  streamTask: undefined,
  streamMany: undefined,
  multiplex: undefined,
  readEvents: undefined,
};

const variables: ActsOf<typeof VariableService> = {
  setVariable: undefined,
  setVariables: undefined,
  getVariable: undefined,
  listVariables: undefined,
  deleteVariable: undefined,
  watchVariables: undefined,
};

export const acts: Readonly<Record<string, Readonly<Record<string, Act | undefined>>>> = {
  [AdminService.typeName]: admin,
  [EventStreamService.typeName]: eventStreams,
  [MemoryService.typeName]: memory,
  [TaskStreamService.typeName]: taskStreams,
  [TokenService.typeName]: tokens,
  [VariableService.typeName]: variables,
  [WorkflowService.typeName]: workflows,
};

const actOf = ({
  parent,
  localName,
}: Pick<HandlerContext["method"], "localName" | "parent">): Act | undefined =>
  acts[parent.typeName]?.[localName];

const peerKey = createContextKey("", { description: "the address at the other end of the connection" });

/** What each call is to know from its connection. */
export const valuesOf = ({ socket }: { readonly socket: { readonly remoteAddress?: string | undefined } }) =>
  createContextValues().set(peerKey, socket.remoteAddress ?? "");

/** Writes what the gate refuses. */
export function auditRefusals(gate: Gate, write: WriteAudit): Gate {
  return async (context) => {
    try {
      await gate(context);
    } catch (error) {
      const act = actOf(context.method);
      if (act !== undefined) {
        const sent = context.requestHeader.has("authorization");
        write(toLine(act, context.values, sent, { target: "" }, error));
      }
      throw error;
    }
  };
}

/** Writes how the acts ended that the gate let through. To be the outermost, so that it sees the errors as the caller does. */
export function auditInterceptor(write: WriteAudit): Interceptor {
  return (next) => async (request) => {
    const act = actOf(request.method);
    if (act === undefined || request.stream) return next(request);
    try {
      const response = await next(request);
      const answer = response.stream ? undefined : response.message;
      write(toLine(act, request.contextValues, true, act.about(request.message, answer)));
      return response;
    } catch (error) {
      write(toLine(act, request.contextValues, true, act.about(request.message, undefined), error));
      throw error;
    }
  };
}

function toLine(act: Act, values: ContextValues, sent: boolean, about: About, error?: unknown): AuditLine {
  const principal = values.get(principalKey);
  const apiKeyId = principal === undefined || principal.kind === "admin" ? undefined : principal.apiKeyId;
  return {
    act: act.act,
    credential:
      principal === undefined
        ? sent
          ? "unknown"
          : "none"
        : principal.kind === "admin"
          ? "admin"
          : principal.kind === "token"
            ? "stream_token"
            : apiKeyId === undefined
              ? "dev_key"
              : "api_key",
    apiKeyId: apiKeyId ?? "",
    tenant: plain(
      about.tenant ?? (principal === undefined || principal.kind === "admin" ? "" : principal.tenant),
    ),
    target: plain(about.target),
    outcome: error === undefined ? "OK" : codeName(error),
    peer: values.get(peerKey),
    detail: about.detail ?? {},
  };
}

/** What is named as these are: ids, keys' ids, slugs, up to a hundred. Anything else may be a secret in the wrong field. */
const plain = (text: string) =>
  text
    .slice(0, 4000)
    .split(" ")
    .map((name) => (isName(name) ? name : "(malformed)"))
    .join(" ");
const isName = (text: string) =>
  /^([\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}|key_[\w-]{12}|[a-z\d][a-z\d_-]{2,62}|)$/i.test(text) &&
  !text.startsWith(apiKeyPrefix);

const codeName = (error: unknown) =>
  (Code[ConnectError.from(error).code] ?? "?").replace(/(?!^)[A-Z]/g, (letter) => `_${letter}`).toUpperCase();

const limitsOf = (limits: TenantLimits | undefined) => {
  if (limits === undefined) return {};
  const { maxStreams, maxSessions, maxEventsPerSecond, maxBytesPerSecond, maxOpenWorkflows } = limits;
  return {
    limits: {
      maxStreams,
      maxSessions,
      maxEventsPerSecond,
      maxBytesPerSecond: Number(maxBytesPerSecond),
      maxOpenWorkflows,
    },
  };
};

const retentionOf = (given: Readonly<Record<string, bigint | undefined>>) =>
  Object.fromEntries(
    Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [[name, Number(value)]])),
  );

const spaceRetentionOf = (retention: SpaceRetention | undefined) =>
  retention === undefined
    ? {}
    : retentionOf({ maxAgeMs: retention.maxAgeMs, maxObservations: retention.maxObservations });
