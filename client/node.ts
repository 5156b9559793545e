/**
 * The client for Node: every service of a Tributary server over one HTTP/2 connection, streams that resume by themselves, and
 * sessions to write with. The connection opens with the first call, is checked with pings while calls are open, and does not
 * keep the process alive when none is. `close()` ends it with all its calls.
 */
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { AdminService } from "../gen/tributary/v1/admin_service_pb.ts";
import { Connection } from "./connection.ts";
import { createCore, type ReadingClient } from "./core.ts";
import type { ClientOptions } from "./options.ts";
import { type ObservationEntry, observationKind, taskKind } from "./write/kinds.ts";
import { Session, type SessionOptions } from "./write/session.ts";
import { TaskSession, type TaskSessionOptions } from "./write/tasks.ts";

export { Role, RoleSchema } from "../gen/tributary/v1/admin_service_pb.ts";
export {
  Priority,
  RejectionCode,
  SessionClosedReason,
  SessionClosedReasonSchema,
  SessionState,
} from "../gen/tributary/v1/session_pb.ts";
export * from "./exports.ts";
export {
  CancelRequestedError,
  EntryRejectedError,
  SessionClosedError,
  SessionFailedError,
  TooManyWritesError,
} from "./write/errors.ts";
export type { ObservationEntry, TaskEntry } from "./write/kinds.ts";
export type { Settled, Written } from "./write/outbox.ts";
export type { Session, SessionOpened, SessionOptions, SessionPhase } from "./write/session.ts";
export type { SessionRecord, SessionStore } from "./write/session-store.ts";
export type { TaskSession, TaskSessionOptions, TaskWriter } from "./write/tasks.ts";

export interface NodeClientOptions extends ClientOptions {
  /** Certificate authorities to trust, PEM. Absent: those of Node. */
  readonly ca?: string | undefined;
}

export interface TributaryClient extends ReadingClient {
  readonly admin: Client<typeof AdminService>;
  /** Writes events of the tasks of one tree; `workflowId` is any workflow of it. */
  openSession(options: TaskSessionOptions & { readonly workflowId: string }): TaskSession;
  /** Writes observations into a memory space; absent: "default". */
  openObservations(
    options?: SessionOptions & { readonly space?: string | undefined },
  ): Session<ObservationEntry>;
}

/** A connection with open calls that says nothing for so long is asked, and given up after the timeout, ms. */
const ping = { pingIntervalMs: 20_000, pingTimeoutMs: 10_000 };

export function createTributaryClient(options: NodeClientOptions): TributaryClient {
  const core = createCore(options, {
    connect(baseUrl, interceptors) {
      const sessionManager = new Connection(
        baseUrl,
        ping,
        options.ca === undefined ? {} : { ca: options.ca },
      );
      const transport = createGrpcTransport({
        baseUrl,
        sessionManager,
        // Small messages gain nothing, and it would hide a slow reader behind its buffers.
        acceptCompression: [],
        interceptors,
      });
      return { transport, close: () => sessionManager.abort() };
    },
    sharesCalls: () => false, // HTTP/2 carries thousands of streams over one connection
  });
  const { client } = core;
  return {
    ...client,
    admin: createClient(AdminService, core.transport),
    openSession: ({ workflowId, ...given }) =>
      new TaskSession(taskKind(client.tasks, workflowId), core, {
        traceparent: options.traceparent,
        ...given,
      }),
    openObservations: ({ space = "", ...given } = {}) =>
      new Session(observationKind(client.memory, space), core, given),
  };
}
