/**
 * What an error of Postgres or of the connection means for a group. Decided from SQLSTATE and from whether the statement
 * had been sent, never from message text.
 */
import { BindError } from "../../db/bound-query.ts";
import { ConnectionFailure } from "../../db/pool.ts";
import { StoreError, type StoreFailure } from "../core/ports.ts";

const failureByClass: Record<string, StoreFailure> = {
  "08": "unknown", // connection exception
  "22": "poisoned", // data exception
  "23": "poisoned", // integrity constraint violation
  "54": "poisoned", // program limit exceeded
  "40": "busy", // serialization failure, deadlock
  "53": "away", // insufficient resources: disk full, too many connections
  "57": "away", // operator intervention: shutdown, crash, cannot connect now
  "58": "away", // system error
};

const failureByState: Record<string, StoreFailure> = {
  "55P03": "busy", // lock_timeout
  "57014": "busy", // statement_timeout, cancelled
  "25006": "away", // read-only transaction: a standby
  TR001: "poisoned", // entries that depend on one another
};

/** `sent`: the statement was on its way, so that a broken connection leaves its outcome unknown. */
export function toStoreError(error: unknown, sent: boolean): StoreError {
  if (error instanceof StoreError) return error;
  // A value that its column cannot hold, as Postgres would say.
  if (error instanceof BindError) return new StoreError("poisoned", error.message, error);
  const state = sqlState(error);
  const message = error instanceof Error ? error.message : String(error);
  // An error that Postgres answered with rolled the transaction back, except those that end the connection:
  // they come before the commit too, but the driver reports a lost connection in the same breath.
  const failure: StoreFailure =
    state === undefined
      ? sent
        ? "unknown"
        : "away"
      : (failureByState[state] ?? failureByClass[state.slice(0, 2)] ?? "poisoned");
  return new StoreError(failure, message, error);
}

/** Is the database away, as far as a read can tell? Looks through the wrappers that query builders put around errors. */
export function isDatabaseAway(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof StoreError) return at.failure === "away" || at.failure === "unknown";
    const state = sqlState(at);
    if (state !== undefined) return toStoreError(at, false).failure !== "poisoned";
    if (at instanceof ConnectionFailure) return true;
  }
  return false;
}

/** A read: throws StoreError "away" while the database cannot be reached. */
export async function reading<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw isDatabaseAway(error) ? new StoreError("away", (error as Error).message, error) : error;
  }
}

/** The five characters of SQLSTATE, if Postgres answered at all. Errors of sockets have codes like ECONNRESET. */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  const severity = (error as { severity?: unknown } | undefined)?.severity;
  return typeof code === "string" && code.length === 5 && severity !== undefined ? code : undefined;
}
