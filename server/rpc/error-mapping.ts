/**
 * The one place where errors become Connect errors (and, through the code, HTTP statuses). Everything that is not known
 * is a bug: its text goes to the log under an id, and the caller gets the id.
 */
import { randomUUID } from "node:crypto";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { SessionEndedSchema } from "../../gen/tributary/v1/session_pb.ts";
import {
  MissingVariablesSchema,
  VariableConflictSchema,
} from "../../gen/tributary/v1/variable_service_pb.ts";
import type { CallNotes } from "../core/call-notes.ts";
import { DomainError, type ErrorCode } from "../core/errors.ts";
import { StoreError } from "../core/ports.ts";
import { isDatabaseAway } from "../store/store-errors.ts";
import { notesKey } from "./context.ts";

const codes: Record<ErrorCode, Code> = {
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  invalid_argument: Code.InvalidArgument,
  failed_precondition: Code.FailedPrecondition,
  aborted: Code.Aborted,
  out_of_range: Code.OutOfRange,
  resource_exhausted: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
  unimplemented: Code.Unimplemented,
};

export type LogBug = (errorId: string, error: unknown) => void;

/**
 * Says that this server answered, whatever the protocol: gRPC has a status of its own for that, Connect has not, and a
 * client must tell an answer from what a proxy or a broken connection looks like.
 */
const mark = "tributary-error";

/** `notes`: of the call that fails with it. */
export function toConnectError(error: unknown, logBug: LogBug, notes?: CallNotes | undefined): ConnectError {
  const mapped = wellFormed(mapError(error, logBug));
  notes?.failed(nameOfCode(mapped.code));
  mapped.metadata.set(mark, "1");
  return mapped;
}

/** As above, for a call whose client may have left: a connection that breaks is no bug of this server. */
export function toCallError(
  error: unknown,
  { signal, values }: Pick<HandlerContext, "signal" | "values">,
  logBug: LogBug,
): ConnectError {
  const isOurs = error instanceof ConnectError || error instanceof DomainError;
  return toConnectError(signal.aborted && !isOurs ? signal.reason : error, logBug, values.get(notesKey));
}

/** As above, for a part of a call that goes on without it. */
export function toStreamError(error: unknown, logBug: LogBug): { code: string; message: string } {
  const { code, rawMessage } = mapError(error, logBug);
  return { code: nameOfCode(code), message: rawMessage };
}

/** In lower snake case. */
const nameOfCode = (code: Code): string =>
  Code[code].replace(/(?!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();

function mapError(error: unknown, logBug: LogBug): ConnectError {
  if (error instanceof ConnectError) return error;
  if (error instanceof DomainError) {
    const mapped = new ConnectError(error.message, codes[error.code]);
    if (error.retryAfterMs !== undefined) {
      mapped.details.push({ desc: RetryInfoSchema, value: { retryDelay: toDuration(error.retryAfterMs) } });
    }
    if (error.endedAtSequence !== undefined) {
      mapped.details.push({
        desc: SessionEndedSchema,
        value: { lastSequence: BigInt(error.endedAtSequence) },
      });
    }
    for (const { name, version } of error.conflicts ?? []) {
      mapped.details.push({
        desc: VariableConflictSchema,
        value: { name, currentVersion: BigInt(version) },
      });
    }
    if (error.missingVariables !== undefined) {
      mapped.details.push({ desc: MissingVariablesSchema, value: { names: [...error.missingVariables] } });
    }
    return mapped;
  }
  if (isDatabaseAway(error)) {
    return new ConnectError(
      "the database cannot be reached right now, or this server is too busy to ask it; try again",
      Code.Unavailable,
    );
  }
  if (error instanceof Error && isBroken(error)) {
    return new ConnectError("the call was cancelled", Code.Canceled);
  }
  const errorId = randomUUID();
  logBug(errorId, error instanceof StoreError ? (error.cause ?? error) : error);
  return new ConnectError(`internal error; the server's log has it under ${errorId}`, Code.Internal);
}

/** With half a surrogate pair in its text an error could not be sent over gRPC: JSON may hold one, and errors quote it. */
export function wellFormed(error: ConnectError): ConnectError {
  if (error.rawMessage.isWellFormed()) return error;
  const { code, metadata, details } = error;
  const sendable = new ConnectError(error.rawMessage.toWellFormed(), code, metadata);
  sendable.details = details;
  return sendable;
}

const toDuration = (ms: number) => ({
  seconds: BigInt(Math.floor(ms / 1000)),
  nanos: (ms % 1000) * 1_000_000,
});

/** What an error says of trying again; undefined: nothing. */
export function retryAfterMs(error: ConnectError): number | undefined {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6;
}

/** The client left: with the signal, or in the middle of a message, which is noticed before the signal. */
const isBroken = (error: Error): boolean =>
  error.name === "AbortError" || ("code" in error && brokenCodes.has(error.code));
const brokenCodes: ReadonlySet<unknown> = new Set(["ERR_STREAM_PREMATURE_CLOSE", "EPIPE", "ECONNRESET"]);
