/** How a call ended, as a word that a test can compare. */
import { Code, ConnectError } from "@connectrpc/connect";

export async function errorOf(call: Promise<unknown> | AsyncIterable<unknown>): Promise<ConnectError> {
  try {
    await settle(call);
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error("the call succeeded though it should fail");
}

/** The code of a call's error as "NotFound", or "OK". Of a stream the first message decides. */
export async function codeOf(call: Promise<unknown> | AsyncIterable<unknown>): Promise<string> {
  try {
    await settle(call);
    return "OK";
  } catch (error) {
    return Code[ConnectError.from(error).code] ?? "?";
  }
}

async function settle(call: Promise<unknown> | AsyncIterable<unknown>): Promise<void> {
  if (!(Symbol.asyncIterator in call)) {
    await call;
    return;
  }
  for await (const _ of call) break;
}

/** "NotFound" as the contract writes it: "NOT_FOUND". */
export const toSnakeUpper = (code: string): string =>
  code === "OK" ? code : code.replace(/(?!^)[A-Z]/g, "_$&").toUpperCase();
