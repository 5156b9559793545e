/** What can become of a write, and of a session. */
import type { RejectionCode, SessionClosedReason } from "../../gen/tributary/v1/session_pb.ts";

/** The server will never store this entry. Those before and after it stand. */
export class EntryRejectedError extends Error {
  override readonly name = "EntryRejectedError";
  /** INVALID, TASK_CLOSED, WORKFLOW_CLOSED, TOO_LARGE or ALREADY_EXISTS. */
  readonly code: RejectionCode;
  /** Its number in the session, which was skipped. */
  readonly sequence: number;
  /** Counted as `settled` of the session is: with those of earlier sessions of the store. */
  readonly position: number;

  constructor(code: RejectionCode, sequence: number, position: number, message: string) {
    super(message);
    this.code = code;
    this.sequence = sequence;
    this.position = position;
  }
}

/** The session is over and this side did not want it; what was not settled may or may not be stored. */
export class SessionFailedError extends Error {
  override readonly name = "SessionFailedError";
  /** What the server said when it ended it; undefined: see `cause`. */
  readonly reason: SessionClosedReason | undefined;

  constructor(message: string, reason?: SessionClosedReason, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** Written to a session that this side has closed, or given up by its `close` without drain. */
export class SessionClosedError extends Error {
  override readonly name = "SessionClosedError";
}

/** More calls of `write` wait for room than may: somebody does not await them. */
export class TooManyWritesError extends Error {
  override readonly name = "TooManyWritesError";
}

/** Somebody called RequestCancel: the reason of the session's `cancelled` signal. */
export class CancelRequestedError extends Error {
  override readonly name = "CancelRequestedError";
  readonly workflowId: string;

  constructor(workflowId: string, reason: string) {
    super(reason);
    this.workflowId = workflowId;
  }
}
