/**
 * Which failures heal by trying again. What the server said is decided by its code alone. What the server did not say (neither
 * a gRPC status nor its mark arrived) is a broken connection, whatever code the transport gave it, unless an HTTP answer from something
 * in between forbids the call.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { RetryInfoSchema } from "../gen/google/rpc/error_details_pb.ts";

const saidByServer: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.ResourceExhausted,
  Code.DeadlineExceeded,
  Code.Unknown,
]);
const brokenConnection: ReadonlySet<Code> = new Set([
  ...saidByServer,
  Code.Aborted,
  Code.Canceled,
  Code.Internal,
]);

export const asConnectError = (error: unknown): ConnectError => ConnectError.from(error, Code.Unknown);

/** Did a Tributary server answer with this error? Else the connection failed, or something in between answered. */
export function isFromServer(error: ConnectError): boolean {
  return error.metadata.has("grpc-status") || error.metadata.has("tributary-error");
}

export function isRetryable(error: ConnectError): boolean {
  if (!isFromServer(error)) return brokenConnection.has(error.code);
  return saidByServer.has(error.code);
}

/** How long the server asks to wait, ms; 0 if it does not say. */
export function retryAfterMs(error: ConnectError): number {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay === undefined ? 0 : Number(delay.seconds) * 1000 + Math.ceil(delay.nanos / 1_000_000);
}
