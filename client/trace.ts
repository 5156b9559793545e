/**
 * The trace that a call, or an entry, belongs to: its W3C `traceparent`, or a function that is asked each time and may have none.
 * Tributary needs no tracing library for it; with OpenTelemetry the function says what its propagator would send.
 */
import type { Interceptor } from "@connectrpc/connect";

export type TraceSource = string | (() => string | undefined);

/** undefined: none right now. */
export function traceOf(source: TraceSource | undefined): string | undefined {
  const traceparent = typeof source === "function" ? source() : source;
  return traceparent === "" ? undefined : traceparent;
}

/** The server's spans become part of the caller's trace. A header that the caller has set stays. */
export const traceInterceptor =
  (source: TraceSource | undefined): Interceptor =>
  (next) =>
  (request) => {
    const traceparent = request.header.has("traceparent") ? undefined : traceOf(source);
    if (traceparent !== undefined) request.header.set("traceparent", traceparent);
    return next(request);
  };
