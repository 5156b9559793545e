/**
 * What a failure means for the next attempt. What the server said is decided by its code alone. What the server did not say
 * (neither a gRPC status nor its mark arrived) is a broken connection, whatever code the transport gave it, unless an HTTP
 * answer from something in between forbids the call.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";

/**
 * - `transient`: heals by itself: a lost connection, a server that restarts, a database that is away.
 * - `timeout`: took longer than it may.
 * - `exhausted`: a queue or quota is full; the server says how long to wait.
 * - `permanent`: the same call will fail again: a wrong field, no permission, a closed workflow.
 */
export type FailureClass = "transient" | "timeout" | "exhausted" | "permanent";

const brokenConnection: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.Unknown,
  Code.Aborted,
  Code.Canceled,
  Code.Internal,
]);

export const asConnectError = (error: unknown): ConnectError => ConnectError.from(error, Code.Unknown);

/** Did a Tributary server answer with this error? Else the connection failed, or something in between answered. */
export function isFromServer(error: ConnectError): boolean {
  return error.metadata.has("grpc-status") || error.metadata.has("tributary-error");
}

export function classify(error: ConnectError): FailureClass {
  if (error.code === Code.DeadlineExceeded) return "timeout";
  if (error.code === Code.ResourceExhausted) return "exhausted";
  if (error.code === Code.Unavailable || error.code === Code.Unknown) return "transient";
  if (!isFromServer(error) && brokenConnection.has(error.code)) return "transient";
  return "permanent";
}

/** May the same call do better later? */
export const isRetryable = (error: ConnectError): boolean => classify(error) !== "permanent";

/** How long the server asks to wait, ms; 0 if it does not say. */
export function retryAfterMs(error: ConnectError): number {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay === undefined ? 0 : Number(delay.seconds) * 1000 + Math.ceil(delay.nanos / 1_000_000);
}
