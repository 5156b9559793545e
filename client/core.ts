/**
 * The client without its platform: the services over one resilient transport, and streams that resume by themselves. What
 * differs between Node and browsers is how a server is connected to, and comes in from outside.
 */
import type { DescService } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import type { Event } from "../gen/tributary/v1/event_pb.ts";
import { EventStreamService, StreamScope } from "../gen/tributary/v1/event_stream_service_pb.ts";
import { MemoryService, type RecalledObservation } from "../gen/tributary/v1/memory_service_pb.ts";
import { TaskStreamService } from "../gen/tributary/v1/task_stream_service_pb.ts";
import { TokenService } from "../gen/tributary/v1/token_service_pb.ts";
import { VariableService, type VariableUpdate } from "../gen/tributary/v1/variable_service_pb.ts";
import { WorkflowService } from "../gen/tributary/v1/workflow_service_pb.ts";
import { linked } from "./abort.ts";
import { Credential } from "./credential.ts";
import type { ClientOptions } from "./options.ts";
import { EventReading, type FollowItem, type FollowOptions, type OpenStream } from "./read/follow.ts";
import { events, results, updates } from "./read/kinds.ts";
import { type ReadDeps, type Reading, read } from "./read/reading.ts";
import { type RecallItem, type RecallOptions, RecallReading } from "./read/recall.ts";
import { SharedCall } from "./read/shared-call.ts";
import { type Kind, Subscription } from "./read/subscription.ts";
import { VariableReading, type WatchItem, type WatchOptions } from "./read/watch-variables.ts";
import { toResilience } from "./resilience/options.ts";
import { type Endpoint, Server, Servers } from "./resilience/servers.ts";
import { ResilientTransport } from "./resilience/transport.ts";
import { traceInterceptor } from "./trace.ts";

export type EventSubscription = Subscription<FollowItem, Event>;
export type VariableSubscription = Subscription<WatchItem, VariableUpdate>;
export type RecallSubscription = Subscription<RecallItem, RecalledObservation>;

/** What works everywhere. */
export interface ReadingClient {
  readonly workflows: Client<typeof WorkflowService>;
  readonly tasks: Client<typeof TaskStreamService>;
  readonly streams: Client<typeof EventStreamService>;
  readonly variables: Client<typeof VariableService>;
  readonly memory: Client<typeof MemoryService>;
  readonly tokens: Client<typeof TokenService>;
  /** A workflow and all its descendants, also those that start later; ends when all of them are closed. */
  followTree(workflowId: string, options?: FollowOptions): EventSubscription;
  /** One workflow alone; ends when it is closed. */
  follow(workflowId: string, options?: FollowOptions): EventSubscription;
  /** One task, which need not have begun; ends with its terminal event or with its workflow. */
  followTask(workflowId: string, taskExecutionId: string, options?: FollowOptions): EventSubscription;
  /** What the variables of a workflow are, then every change; ends when it is closed. */
  watchVariables(workflowId: string, options?: WatchOptions): VariableSubscription;
  /** Observations that match, best first; with `follow` also those that come. */
  recall(options: RecallOptions): RecallSubscription;
  /** Ends every call and stream, for good. */
  close(): void;
}

export interface Platform {
  /** Opens with the first call. */
  connect(baseUrl: string, interceptors: Interceptor[]): Endpoint;
  /** Are streams of events to share one call, since there are few connections? */
  sharesCalls(baseUrl: string): boolean;
}

/** What the writing part needs too. */
export interface Core extends ReadDeps {
  readonly transport: ResilientTransport;
  readonly closed: AbortSignal;
  readonly client: ReadingClient;
}

export function createCore(
  { baseUrl, credential: source, resilience: given, traceparent }: ClientOptions,
  platform: Platform,
): Core {
  const resilience = toResilience(given);
  const credential = new Credential(source);
  const urls = typeof baseUrl === "string" ? [baseUrl] : baseUrl;
  const interceptors = [
    credential.interceptor,
    ...(traceparent === undefined ? [] : [traceInterceptor(traceparent)]),
  ];
  const servers = new Servers(
    urls.map((url) => new Server(url, platform.connect(url, interceptors), resilience)),
  );
  const closed = new AbortController();
  const transport = new ResilientTransport({ servers, credential, resilience, closed: closed.signal });
  const deps = { resilience, servers, credential };
  const client = <S extends DescService>(service: S) => createClient(service, transport);
  const streams = client(EventStreamService);
  const variables = client(VariableService);
  const memory = client(MemoryService);
  const shared = urls.every((url) => platform.sharesCalls(url)) ? new SharedCall(streams) : undefined;

  function subscribe<M, I, V>(
    kind: Kind<I, V>,
    reading: Reading<M, I>,
    signal: AbortSignal | undefined,
  ): Subscription<I, V> {
    return new Subscription<I, V>(
      kind,
      {
        position: () => reading.position,
        async *start(own, tellState) {
          const stop = linked(own, closed.signal);
          try {
            // What is told between the items is an item of every kind.
            yield* read(reading, deps, stop.signal, tellState) as AsyncGenerator<I, void>;
            if (closed.signal.aborted && !own.aborted) throw closed.signal.reason;
          } finally {
            stop.release();
          }
        },
      },
      signal,
    );
  }
  function followBy(
    what: string,
    target: { workflowId: string; taskExecutionId?: string; scope: StreamScope },
    open: OpenStream,
    options: FollowOptions = {},
  ): EventSubscription {
    const opening: OpenStream =
      shared === undefined ? open : (asked, call) => shared.open({ ...target, options: asked }, call);
    return subscribe(events, new EventReading(what, opening, options), options.signal);
  }

  const reading: ReadingClient = {
    workflows: client(WorkflowService),
    tasks: client(TaskStreamService),
    streams,
    variables,
    memory,
    tokens: client(TokenService),
    followTree: (workflowId, options) =>
      followBy(
        `followTree ${workflowId}`,
        { workflowId, scope: StreamScope.CONSOLIDATED },
        (asked, call) => streams.streamWorkflowConsolidated({ workflowId, options: asked }, call),
        options,
      ),
    follow: (workflowId, options) =>
      followBy(
        `follow ${workflowId}`,
        { workflowId, scope: StreamScope.WORKFLOW },
        (asked, call) => streams.streamWorkflow({ workflowId, options: asked }, call),
        options,
      ),
    followTask: (workflowId, taskExecutionId, options) =>
      followBy(
        `followTask ${workflowId} ${taskExecutionId}`,
        { workflowId, taskExecutionId, scope: StreamScope.TASK },
        (asked, call) => streams.streamTask({ workflowId, taskExecutionId, options: asked }, call),
        options,
      ),
    watchVariables: (workflowId, options = {}) =>
      subscribe(
        updates,
        new VariableReading(
          `watchVariables ${workflowId}`,
          (asked, call) => variables.watchVariables({ ...asked, workflowId }, call),
          options,
        ),
        options.signal,
      ),
    recall: (options) =>
      subscribe(
        results,
        new RecallReading(
          `recall ${options.space ?? "default"}`,
          (asked, call) => memory.recallStream(asked, call),
          options,
        ),
        options.signal,
      ),
    close: () => {
      closed.abort(new ConnectError("the client is closed", Code.Canceled));
      servers.close();
    },
  };
  return { ...deps, transport, closed: closed.signal, client: reading };
}
