/**
 * What core and the protocols know of tracing: a span for each call, for each group commit, and for each message to a reader that
 * holds events with a trace. Contexts are handed on by hand, never by the runtime's async context, which every await would
 * pay for. Without tracing there is no `Tracing` at all: nothing is made, and nothing is asked twice.
 */
import type { StoredEvent } from "./event.ts";
import type { TraceParts } from "./traceparent.ts";

/** Links of one span, most. */
export const mostLinks = 32;

export interface CallBegin {
  /** What is called, of a closed list: an RPC or a route. */
  readonly method: string;
  readonly protocol: CallProtocol;
  /** As the caller's header says. */
  readonly parent: TraceParts | undefined;
  readonly requestId: string;
  readonly peer: string | undefined;
}

export type CallProtocol = "grpc" | "grpc-web" | "connect" | "sse" | "http";

export interface CallEnd {
  /** "ok", or an error code in lower snake case. */
  readonly code: string;
  readonly httpStatus: number;
  readonly tenant: string | undefined;
  readonly messagesIn: number;
  readonly messagesOut: number;
}

export interface CallSpan {
  readonly traceId: string;
  /** Its trace context, to be kept with what the call writes; undefined: it is not sampled. */
  readonly traceparent: string | undefined;
  /** A message with these events goes out. Of a call that is not sampled nothing is made. */
  delivered(events: readonly Pick<StoredEvent, "offset" | "traceparent">[]): void;
  end(end: CallEnd): void;
}

export interface CommitBegin {
  readonly commands: number;
  readonly streams: number;
  readonly entries: number;
  readonly bytes: number;
  /** How long the oldest of it had waited, ms. */
  readonly waitedMs: number;
  /** Of the calls whose commands it holds, each once, at most `mostLinks`. */
  readonly calls: readonly string[];
}

export interface CommitSpan {
  /** undefined: it was stored. */
  end(failure: string | undefined): void;
}

export interface Tracing {
  call(begin: CallBegin): CallSpan;
  commit(begin: CommitBegin): CommitSpan;
}
