/** What a client is made with. */
import type { CredentialSource } from "./credential.ts";
import type { ResilienceOptions } from "./resilience/options.ts";
import type { TraceSource } from "./trace.ts";

export interface ClientOptions {
  /** Of the server, like "http://127.0.0.1:8080"; of several instances, any number: when one fails or stops, the next is asked. */
  readonly baseUrl: string | readonly string[];
  /**
   * API key, admin key or stream token; a function is asked before every call, and again when its answer was refused. Absent:
   * calls are refused, save those that need none.
   */
  readonly credential?: CredentialSource | undefined;
  /**
   * The trace that calls belong to, and, of a session of task events, each entry that is written: a W3C `traceparent`, or a
   * function that is asked for each of them. Absent: none.
   */
  readonly traceparent?: TraceSource | undefined;
  /** Deadlines, retries, circuit breaker. */
  readonly resilience?: ResilienceOptions | undefined;
}
