/**
 * The client for Node: every service of a Tributary server over one HTTP/2 connection, and streams that resume by
 * themselves. The connection opens with the first call, is checked with pings while calls are open, and does not keep the
 * process alive when none is. `close()` ends it with all its calls.
 */
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { AdminService } from "../gen/tributary/v1/admin_service_pb.ts";
import { EventStreamService } from "../gen/tributary/v1/event_stream_service_pb.ts";
import { MemoryService } from "../gen/tributary/v1/memory_service_pb.ts";
import { TaskStreamService } from "../gen/tributary/v1/task_stream_service_pb.ts";
import { TokenService } from "../gen/tributary/v1/token_service_pb.ts";
import { WorkflowService } from "../gen/tributary/v1/workflow_service_pb.ts";
import { Connection } from "./connection.ts";
import { type FollowItem, type FollowOptions, follow } from "./follow.ts";

export interface ClientOptions {
  /** Of the server, like "http://127.0.0.1:8080". */
  readonly baseUrl: string;
  /** API key, admin key or stream token. Absent: calls are refused, save those that need none. */
  readonly apiKey?: string | undefined;
}

export interface TributaryClient {
  readonly workflows: Client<typeof WorkflowService>;
  readonly tasks: Client<typeof TaskStreamService>;
  readonly streams: Client<typeof EventStreamService>;
  readonly memory: Client<typeof MemoryService>;
  readonly tokens: Client<typeof TokenService>;
  readonly admin: Client<typeof AdminService>;
  /** A workflow and all its descendants, also those that start later; ends when all of them are closed. */
  followTree(workflowId: string, options?: FollowOptions): AsyncGenerator<FollowItem, void>;
  /** One workflow alone; ends when it is closed. */
  follow(workflowId: string, options?: FollowOptions): AsyncGenerator<FollowItem, void>;
  /** One task, which need not have begun; ends with its terminal event or with its workflow. */
  followTask(
    workflowId: string,
    taskExecutionId: string,
    options?: FollowOptions,
  ): AsyncGenerator<FollowItem, void>;
  /** Ends the connection and every open call. The next call would open a new one. */
  close(): void;
}

/** A connection with open calls that says nothing for so long is asked, and given up after the timeout, ms. */
const ping = { pingIntervalMs: 20_000, pingTimeoutMs: 10_000 };

export function createTributaryClient({ baseUrl, apiKey }: ClientOptions): TributaryClient {
  const sessionManager = new Connection(baseUrl, ping);
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager,
    // Small messages gain nothing, and it would hide a slow reader behind its buffers.
    acceptCompression: [],
    interceptors: [
      (next) => (request) => {
        if (apiKey !== undefined) request.header.set("authorization", `Bearer ${apiKey}`);
        return next(request);
      },
    ],
  });
  const client = <S extends DescService>(service: S) => createClient(service, transport);
  const streams = client(EventStreamService);
  return {
    workflows: client(WorkflowService),
    tasks: client(TaskStreamService),
    streams,
    memory: client(MemoryService),
    tokens: client(TokenService),
    admin: client(AdminService),
    followTree: (workflowId, given) =>
      follow(
        (options, signal) => streams.streamWorkflowConsolidated({ workflowId, options }, { signal }),
        given,
      ),
    follow: (workflowId, given) =>
      follow((options, signal) => streams.streamWorkflow({ workflowId, options }, { signal }), given),
    followTask: (workflowId, taskExecutionId, given) =>
      follow(
        (options, signal) => streams.streamTask({ workflowId, taskExecutionId, options }, { signal }),
        given,
      ),
    close: () => sessionManager.abort(),
  };
}
