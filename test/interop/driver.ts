/**
 * What a stranger's client looks like to the script: it makes calls, and everything goes in and comes out as the JSON that
 * protobuf defines for a message. Every client has that mapping or is used with it, so answers of all of them compare as
 * they are.
 */
export type Json = { readonly [field: string]: unknown };

export interface Detail {
  /** Full name of the message. */
  readonly type: string;
  readonly bytes: Uint8Array;
}

export interface Outcome {
  /** "ok", or the error code in lower snake case. */
  readonly code: string;
  readonly message: string;
  readonly details: readonly Detail[];
}

export interface Call {
  /** What came so far; it grows while the call runs. */
  readonly messages: readonly Json[];
  /** How it ended. Rejects only if the client itself is broken. */
  readonly outcome: Promise<Outcome>;
  /** Ends it, whatever state it is in; nothing of it is left when this resolves. */
  cancel(): Promise<void>;
}

/** Full name of service and method, as in the path of a request. */
export type Rpc = `tributary.v1.${string}/${string}`;

export interface Driver {
  /** Requests: one, save for client streams. No credential: none is sent. */
  call(rpc: Rpc, requests: readonly Json[], credential?: string): Call;
  close(): Promise<void>;
}

export const ok: Outcome = { code: "ok", message: "", details: [] };

/** A call from what runs it: `run` adds to the messages, and settles soon after the signal. */
export function callOf(run: (messages: Json[], signal: AbortSignal) => Promise<Outcome>): Call {
  const messages: Json[] = [];
  const abort = new AbortController();
  const outcome = run(messages, abort.signal);
  outcome.catch(() => {}); // seen by who awaits it
  return {
    messages,
    outcome,
    async cancel() {
      abort.abort();
      await outcome.catch(() => {});
    },
  };
}

/** gRPC status numbers as names. */
export const codeNames = [
  "ok",
  "canceled",
  "unknown",
  "invalid_argument",
  "deadline_exceeded",
  "not_found",
  "already_exists",
  "permission_denied",
  "resource_exhausted",
  "failed_precondition",
  "aborted",
  "out_of_range",
  "unimplemented",
  "internal",
  "unavailable",
  "data_loss",
  "unauthenticated",
] as const;

/** An error as the Connect protocol writes it; buf curl prints all errors so. */
export function fromConnectError(error: Json): Outcome {
  const details = (error["details"] ?? []) as readonly { type: string; value: string }[];
  return {
    code: String(error["code"]),
    message: String(error["message"] ?? ""),
    details: details.map(({ type, value }) => ({ type, bytes: Buffer.from(value, "base64") })),
  };
}

/** Clients that cannot stream requests (browsers) let another one do that; everything else is theirs. */
export function withClientStreamsOf(other: Driver, driver: Driver): Driver {
  return {
    call: (rpc, requests, credential) =>
      (rpc.endsWith("/PublishTaskEvents") ? other : driver).call(rpc, requests, credential),
    async close() {
      await driver.close();
      await other.close();
    },
  };
}
