/**
 * What is noted of a call while it runs: for its line in the log and for its span, which are made of the same numbers. Whoever
 * serves it adds what he learns; at its end it is told once.
 */
import type { CallBegin, CallProtocol, CallSpan, Tracing } from "./tracing.ts";

/** Who calls, as far as it may be told: never the credential itself. */
export interface Caller {
  readonly tenant: string | undefined;
  readonly credential: "admin" | "key" | "token";
  /** Of a key, or of the key that a token was made with. */
  readonly keyId: string | undefined;
}

export class CallNotes {
  readonly requestId: string;
  readonly method: string;
  readonly protocol: CallProtocol;
  readonly peer: string | undefined;
  readonly span: CallSpan | undefined;
  readonly #beganMs = performance.now();
  /** undefined: no credential was accepted. */
  caller: Caller | undefined;
  /** Of the client's stream of messages; else 0. */
  messagesIn = 0;
  /** Of the server's stream of messages; else 0. */
  messagesOut = 0;
  /** Did it come to the implementation of the RPC? */
  entered = false;
  #code: string | undefined;
  #ended = false;

  constructor(begin: CallBegin, tracing: Tracing | undefined) {
    this.requestId = begin.requestId;
    this.method = begin.method;
    this.protocol = begin.protocol;
    this.peer = begin.peer;
    this.span = tracing?.call(begin);
  }

  /** "ok" or an error code in lower snake case; undefined: nobody has said. */
  get code(): string | undefined {
    return this.#code;
  }

  /** The trace context that is kept with what it writes. */
  get trace(): string | undefined {
    return this.span?.traceparent;
  }

  get elapsedMs(): number {
    return performance.now() - this.#beganMs;
  }

  /** The first one counts: what comes after is a consequence. */
  failed(code: string): void {
    this.#code ??= code;
  }

  /** A message of the server's stream goes out, with these events if it has any. */
  sent(events?: Parameters<CallSpan["delivered"]>[0]): void {
    this.messagesOut++;
    if (events !== undefined) this.span?.delivered(events);
  }

  /** True the first time. */
  end(code: string, httpStatus: number): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.#code ??= code;
    const { messagesIn, messagesOut } = this;
    this.span?.end({ code: this.#code, httpStatus, tenant: this.caller?.tenant, messagesIn, messagesOut });
    return true;
  }
}
