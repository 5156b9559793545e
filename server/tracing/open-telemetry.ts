/**
 * Spans by the OpenTelemetry API. Names and attributes follow its semantic conventions of RPC, HTTP, databases and messaging,
 * with `tributary.` before what they have no name for. Nothing of payloads, credentials, queries or paths: of what clients choose
 * only the request id and the tenant.
 */
import {
  type Attributes,
  type Context,
  type Link,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import type { StoredEvent } from "../core/event.ts";
import { parseTraceparent, type TraceParts, toTraceparent } from "../core/traceparent.ts";
import {
  type CallBegin,
  type CallEnd,
  type CallSpan,
  type CommitBegin,
  type CommitSpan,
  mostLinks,
  type Tracing,
} from "../core/tracing.ts";

export function createTracing(tracer: Tracer): Tracing {
  return {
    call: (begin) => new TracedCall(tracer, begin),
    commit: (begin) => beginCommit(tracer, begin),
  };
}

/** gRPC's numbers, by our names. */
const grpcStatus: Readonly<Record<string, number>> = {
  ok: 0,
  canceled: 1,
  unknown: 2,
  invalid_argument: 3,
  deadline_exceeded: 4,
  not_found: 5,
  already_exists: 6,
  permission_denied: 7,
  resource_exhausted: 8,
  failed_precondition: 9,
  aborted: 10,
  out_of_range: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  data_loss: 15,
  unauthenticated: 16,
};

/** Of a server's span only these are errors: the others are the caller's. */
const serverFaults: ReadonlySet<string> = new Set([
  "unknown",
  "deadline_exceeded",
  "unimplemented",
  "internal",
  "unavailable",
  "data_loss",
]);

class TracedCall implements CallSpan {
  readonly traceId: string;
  readonly traceparent: string | undefined;
  readonly #tracer: Tracer;
  readonly #begin: CallBegin;
  readonly #span: Span;

  constructor(tracer: Tracer, begin: CallBegin) {
    const { parent } = begin;
    this.#tracer = tracer;
    this.#begin = begin;
    const context = parent === undefined ? ROOT_CONTEXT : contextOf(parent);
    this.#span = tracer.startSpan(
      begin.method,
      { kind: SpanKind.SERVER, attributes: callAttributes(begin) },
      context,
    );
    const { traceId, spanId, traceFlags } = this.#span.spanContext();
    this.traceId = traceId;
    this.traceparent = this.#span.isRecording()
      ? toTraceparent({ traceId, spanId, flags: traceFlags })
      : undefined;
  }

  delivered(events: readonly Pick<StoredEvent, "offset" | "traceparent">[]): void {
    if (this.traceparent === undefined) return;
    const writers = new Set<string>();
    for (const { traceparent } of events) {
      if (traceparent === undefined || writers.has(traceparent)) continue;
      writers.add(traceparent);
      if (writers.size === mostLinks) break;
    }
    if (writers.size === 0) return;
    this.#tracer
      .startSpan(
        "deliver",
        {
          kind: SpanKind.CONSUMER,
          attributes: {
            "messaging.system": "tributary",
            "messaging.operation.name": "deliver",
            "messaging.operation.type": "receive",
            "messaging.batch.message_count": events.length,
            "tributary.first_offset": events[0]?.offset ?? 0,
            "tributary.last_offset": events.at(-1)?.offset ?? 0,
          },
          links: toLinks(writers),
        },
        trace.setSpan(ROOT_CONTEXT, this.#span),
      )
      .end();
  }

  end({ code, httpStatus, tenant, messagesIn, messagesOut }: CallEnd): void {
    if (this.traceparent === undefined) return;
    const { protocol } = this.#begin;
    this.#span.setAttributes({
      ...(tenant === undefined ? {} : { "tributary.tenant": tenant }),
      ...statusAttributes(protocol, code),
      "http.response.status_code": httpStatus,
      "tributary.messages_in": messagesIn,
      "tributary.messages_out": messagesOut,
    });
    if (serverFaults.has(code)) this.#span.setStatus({ code: SpanStatusCode.ERROR, message: code });
    this.#span.end();
  }
}

function callAttributes({ method, protocol, requestId, peer }: CallBegin): Attributes {
  const common: Attributes = {
    "tributary.request_id": requestId,
    ...(peer === undefined ? {} : { "network.peer.address": peer }),
  };
  if (protocol === "sse" || protocol === "http") {
    const [verb = "", route = ""] = method.split(" ");
    return { ...common, "http.request.method": verb, "http.route": route };
  }
  const [service = "", name = ""] = method.split("/");
  return {
    ...common,
    "rpc.system": protocol === "connect" ? "connect_rpc" : "grpc",
    "rpc.service": service,
    "rpc.method": name,
    "tributary.protocol": protocol,
  };
}

function statusAttributes(protocol: CallBegin["protocol"], code: string): Attributes {
  if (protocol === "grpc" || protocol === "grpc-web") {
    return { "rpc.grpc.status_code": grpcStatus[code] ?? 2 };
  }
  if (code === "ok") return {};
  return protocol === "connect" ? { "rpc.connect_rpc.error_code": code } : { "error.type": code };
}

/** Part of the trace of the first call whose commands it holds, linked to the others; without one a trace of its own. */
function beginCommit(tracer: Tracer, { calls, ...begin }: CommitBegin): CommitSpan {
  const first = calls[0] === undefined ? undefined : parseTraceparent(calls[0]);
  const span = tracer.startSpan(
    "commit",
    {
      kind: SpanKind.CLIENT,
      attributes: {
        "db.system.name": "postgresql",
        "db.operation.name": "append",
        "tributary.commands": begin.commands,
        "tributary.streams": begin.streams,
        "tributary.entries": begin.entries,
        "tributary.bytes": begin.bytes,
        "tributary.waited_ms": begin.waitedMs,
      },
      links: toLinks(calls),
    },
    first === undefined ? ROOT_CONTEXT : contextOf(first),
  );
  return {
    end(failure) {
      if (failure !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: failure });
      span.end();
    },
  };
}

const contextOf = (parts: TraceParts): Context => trace.setSpanContext(ROOT_CONTEXT, toSpanContext(parts));

const toSpanContext = ({ traceId, spanId, flags }: TraceParts) => ({
  traceId,
  spanId,
  traceFlags: flags & TraceFlags.SAMPLED,
  isRemote: true,
});

function toLinks(traceparents: Iterable<string>): Link[] {
  const links: Link[] = [];
  for (const traceparent of traceparents) {
    const parts = parseTraceparent(traceparent);
    if (parts !== undefined) links.push({ context: toSpanContext(parts) });
  }
  return links;
}
