/** From whatever was thrown to one or two lines: what is wrong, and what to do about it. */
import { Code, ConnectError } from "@connectrpc/connect";
import { isFromServer } from "../client/index.ts";
import type { Cli } from "./cli.ts";

export interface FailureText {
  readonly message: string;
  /** What to do. */
  readonly hint: string | undefined;
  /** For programs, like "not_found". */
  readonly code: string;
  readonly exitCode: number;
}

/** The command cannot do what was asked. */
export class CommandFailure extends Error {
  readonly hint: string | undefined;

  constructor(message: string, hint?: string, options?: ErrorOptions) {
    super(message, options);
    this.hint = hint;
  }
}

/** The command was called in a way that makes no sense. */
export class UsageFailure extends CommandFailure {}

export function describeFailure(error: unknown, cli: Pick<Cli, "environment" | "keySource">): FailureText {
  if (error instanceof UsageFailure) return { ...plain(error), code: "usage", exitCode: 2 };
  if (error instanceof CommandFailure) {
    const cause = error.cause instanceof ConnectError ? codeName(error.cause) : "failed";
    return { ...plain(error), code: cause, exitCode: 1 };
  }
  if (error instanceof ConnectError) {
    return { ...describeCall(error, cli), code: codeName(error), exitCode: 1 };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { message: sentence(message), hint: undefined, code: "failed", exitCode: 1 };
}

const plain = (error: CommandFailure) => ({ message: sentence(error.message), hint: error.hint });

function describeCall(
  error: ConnectError,
  { environment, keySource }: Pick<Cli, "environment" | "keySource">,
): { message: string; hint: string | undefined } {
  if (!isFromServer(error)) {
    return {
      message: `No Tributary server answers at ${environment.url} (${error.rawMessage}).`,
      hint: /certificate/i.test(error.rawMessage)
        ? "Trust its authority with NODE_EXTRA_CA_CERTS=ca.pem."
        : "Start one with npm start, or set TRIBUTARY_URL.",
    };
  }
  const message = sentence(error.rawMessage);
  switch (error.code) {
    case Code.Unauthenticated:
      switch (keySource.kind) {
        case "none":
          return {
            message: "The server wants a key, and none is set.",
            hint: "Set TRIBUTARY_API_KEY. (In development mode the key is found in the server's folder: run this there, or set DATA_DIR.)",
          };
        case "file":
          return {
            message: `The server at ${environment.url} does not know the key of ${keySource.file}.`,
            hint: "It is not the server of this folder, or not in development mode: set TRIBUTARY_API_KEY.",
          };
        default:
          return { message, hint: "Set TRIBUTARY_API_KEY to a valid key." };
      }
    case Code.PermissionDenied:
      return {
        message,
        hint:
          keySource.kind === "file"
            ? `The key of ${keySource.file} may not do this; set TRIBUTARY_API_KEY. (Tenants need a server that has a TRIBUTARY_ADMIN_KEY.)`
            : "Set TRIBUTARY_API_KEY to a key that may do this.",
      };
    default:
      return { message, hint: undefined };
  }
}

/** Begins with a capital, unless it begins with a name like `tenant_slug:`, and ends with a stop. */
export function sentence(text: string): string {
  const begun = /^[a-z]+[ ,]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?:)]$/.test(begun) ? begun : `${begun}.`;
}

/** As gRPC writes it in JSON: "not_found". */
const codeName = (error: ConnectError) =>
  Code[error.code].replace(/[A-Z]/g, (letter, at) => `${at === 0 ? "" : "_"}${letter.toLowerCase()}`);
