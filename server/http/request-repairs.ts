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

/** What Connect's answers need. */
export function repairAnswer(response: Http2ServerResponse): void {
  response.on("close", () => response.emit("drain"));
  const { addTrailers } = response;
  response.addTrailers = (trailers) => addTrailers.call(response, shortenGrpcMessage(trailers));
}

/** Of every call. */
export function dropEndlessDeadline({ headers }: Http2ServerRequest): void {
  const { "grpc-timeout": grpc, "connect-timeout-ms": connect } = headers;
  if (grpc !== undefined) {
    const [, count, unit = ""] = /^(\d{1,8})([HMSmun])$/.exec(String(grpc)) ?? [];
    if (Number(count) * (unitMs[unit] ?? 0) > longestTimerMs) delete headers["grpc-timeout"];
  }
  if (connect !== undefined && /^\d{1,10}$/.test(String(connect)) && Number(connect) > longestTimerMs)
    delete headers["connect-timeout-ms"];
}
