/** What users of the client import: one place for calls, enums, schemas and errors. */
export type { MessageInitShape } from "@bufbuild/protobuf";
export { Code, ConnectError } from "@connectrpc/connect";
export { Role, RoleSchema } from "../gen/tributary/v1/admin_service_pb.ts";
export {
  AckLevel,
  ClosingReason,
  type Event,
  EventType,
  EventTypeSchema,
  GapReason,
  WorkflowStatus,
  WorkflowStatusSchema,
} from "../gen/tributary/v1/event_pb.ts";
export {
  RejectionCode,
  type SessionClosed,
  SessionClosedReason,
  SessionClosedReasonSchema,
  SessionEndedSchema,
  type SessionRejected,
} from "../gen/tributary/v1/session_pb.ts";
export {
  PublishTaskEventsProgressSchema,
  PublishTaskStreamRequestSchema,
} from "../gen/tributary/v1/task_stream_service_pb.ts";
export { type ClientOptions, createTributaryClient, type TributaryClient } from "./client.ts";
export { asConnectError, isFromServer, isRetryable, retryAfterMs } from "./errors.ts";
export type { FollowItem, FollowOptions } from "./follow.ts";
export { backoffMs, sleep } from "./retry.ts";
