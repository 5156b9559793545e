/** What users of the client import. */
export { type ClientOptions, createTributaryClient, type TributaryClient } from "./client.ts";
export { asConnectError, isFromServer, isRetryable, retryAfterMs } from "./errors.ts";
export type { FollowItem, FollowOptions } from "./follow.ts";
export { sleep } from "./retry.ts";
