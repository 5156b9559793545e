/**
 * Every way in which the embedded Postgres can fail to start, as one closed list: callers and tests decide by
 * `code`, never by the text. Each message says what is wrong, the value found and what to do next, because it
 * is the last thing an operator reads before the server exits.
 */
export type EmbeddedPostgresErrorCode =
  /** No Postgres binaries for this platform are installed, or they cannot be run. */
  | "unsupported_platform"
  /** The data folder cannot be made, written or owned, or its files do not fit together. */
  | "data_dir_unusable"
  /** Another server owns the data folder. */
  | "data_dir_in_use"
  /** The data folder was made by another major version of Postgres. */
  | "other_version"
  /** Running as root, and no unprivileged user can reach the folders that Postgres needs. */
  | "unreachable_as_user"
  /** initdb or Postgres itself gave up; the message carries the end of its log. */
  | "start_failed";

export class EmbeddedPostgresError extends Error {
  override readonly name = "EmbeddedPostgresError";
  readonly code: EmbeddedPostgresErrorCode;

  constructor(code: EmbeddedPostgresErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The `code` of a Node system error or the SQLSTATE of a Postgres error; "" where there is none. */
export function errorCode(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}

export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
