/**
 * What requests need before Connect sees them, and its answers before they go out.
 *
 * - A deadline beyond what a timer of Node can wait for (24.8 days) would end the call at once: it counts as none.
 * - A write that waits for a slow client waits for "drain" alone. A connection that ends meanwhile need not bring one, nor an
 *   error: the handler would wait for ever, with all that the call holds.
 * - Error texts of gRPC: see grpc-message.ts.
 */
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { shortenGrpcMessage } from "../rpc/grpc-message.ts";

const longestTimerMs = 2 ** 31 - 1;

/** Units of grpc-timeout, ms (gRPC over HTTP/2, "Timeout"). */
const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

export function repairCall(request: Http2ServerRequest, response: Http2ServerResponse): void {
  dropEndlessDeadline(request);
  response.on("close", () => response.emit("drain"));
  const { addTrailers } = response;
  response.addTrailers = (trailers) => addTrailers.call(response, shortenGrpcMessage(trailers));
}

function dropEndlessDeadline({ headers }: Http2ServerRequest): void {
  const grpc = /^(\d{1,8})([HMSmun])$/.exec(String(headers["grpc-timeout"] ?? ""));
  if (grpc !== null && Number(grpc[1]) * (unitMs[grpc[2] ?? ""] ?? 0) > longestTimerMs)
    delete headers["grpc-timeout"];
  const connect = /^\d{1,10}$/.exec(String(headers["connect-timeout-ms"] ?? ""));
  if (connect !== null && Number(connect[0]) > longestTimerMs) delete headers["connect-timeout-ms"];
}
