/**
 * The closed list of what can go wrong for a caller. Core throws these for what the caller cannot plan for; one
 * function maps them to the wire (`server/rpc/error-mapping.ts`). Expected outcomes are return values instead.
 * A message says what was wrong, the value found, and what to do.
 */
export type ErrorCode =
  | "unauthenticated"
  | "permission_denied"
  | "not_found"
  | "already_exists"
  | "invalid_argument"
  | "failed_precondition"
  | "aborted"
  | "out_of_range"
  | "resource_exhausted"
  | "unavailable"
  | "unimplemented";

export class DomainError extends Error {
  readonly code: ErrorCode;
  /** Try again, but not before this, ms. With resource_exhausted always given. */
  readonly retryAfterMs: number | undefined;
  /** Of a session that ended: its last settled sequence. */
  readonly endedAtSequence: number | undefined;
  /** Variables whose version is not the expected one, with the one they have (0: do not exist). */
  readonly conflicts: readonly { readonly name: string; readonly version: number }[] | undefined;
  /** Names of variables that do not exist. */
  readonly missingVariables: readonly string[] | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      retryAfterMs?: number;
      endedAtSequence?: number;
      conflicts?: DomainError["conflicts"];
      missingVariables?: readonly string[];
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = "DomainError";
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
    this.endedAtSequence = options.endedAtSequence;
    this.conflicts = options.conflicts;
    this.missingVariables = options.missingVariables;
  }
}
