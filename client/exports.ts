/** What users of the client import beside the client itself: enums, schemas, errors, and the types of what it takes and gives. */
export type { MessageInitShape } from "@bufbuild/protobuf";
export { Code, ConnectError } from "@connectrpc/connect";
export {
  AckLevel,
  ClosingReason,
  type Event,
  EventType,
  EventTypeSchema,
  type Gap,
  GapReason,
  WorkflowStatus,
  WorkflowStatusSchema,
} from "../gen/tributary/v1/event_pb.ts";
export type { Observation, RecalledObservation } from "../gen/tributary/v1/memory_service_pb.ts";
export { PublishTaskEventsProgressSchema } from "../gen/tributary/v1/task_stream_service_pb.ts";
export {
  VariableType,
  type VariableUpdate,
  VariableUpdateType,
} from "../gen/tributary/v1/variable_service_pb.ts";
export { sleep } from "./abort.ts";
export type { EventSubscription, ReadingClient, RecallSubscription, VariableSubscription } from "./core.ts";
export type { CredentialSource } from "./credential.ts";
export type { ClientOptions } from "./options.ts";
export type { FollowItem, FollowOptions } from "./read/follow.ts";
export type { PositionStore, StoredPosition } from "./read/position-store.ts";
export type { Interrupted, StreamState } from "./read/reading.ts";
export type { RecallItem, RecallOptions } from "./read/recall.ts";
export {
  type Collected,
  type CollectOptions,
  GapError,
  type Subscription,
  type ValuesOptions,
} from "./read/subscription.ts";
export type { WatchItem, WatchOptions } from "./read/watch-variables.ts";
export { backoffMs } from "./resilience/backoff.ts";
export {
  asConnectError,
  classify,
  type FailureClass,
  isFromServer,
  isRetryable,
  retryAfterMs,
} from "./resilience/errors.ts";
export type {
  BreakerOptions,
  BreakerState,
  ResilienceEvent,
  ResilienceOptions,
} from "./resilience/options.ts";
export type { TraceSource } from "./trace.ts";
