/** Plain HTTP answers: JSON for programs, with the same codes and texts as the RPCs. */
import type { Http2ServerResponse } from "node:http2";
import { Code, type ConnectError } from "@connectrpc/connect";
import { retryAfterMs } from "../rpc/error-mapping.ts";
import { securityHeaders } from "./security-headers.ts";

/** Connect code → HTTP status on the routes of this server (contract §3 and §5). */
const statuses: Partial<Record<Code, number>> = {
  [Code.Unauthenticated]: 401,
  [Code.PermissionDenied]: 403,
  [Code.NotFound]: 404,
  [Code.InvalidArgument]: 400,
  [Code.OutOfRange]: 416,
  [Code.Aborted]: 409,
  [Code.AlreadyExists]: 409,
  [Code.FailedPrecondition]: 412,
  [Code.ResourceExhausted]: 429,
  [Code.Unavailable]: 503,
  [Code.Unimplemented]: 501,
};

export function answerJson(
  response: Http2ServerResponse,
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    "content-type": "application/json",
    "cache-control": "no-store",
    ...securityHeaders(),
    "content-length": String(Buffer.byteLength(text)),
    ...headers,
  });
  response.end(text);
}

export function answerError(response: Http2ServerResponse, error: ConnectError): void {
  const headers: Record<string, string> =
    error.code === Code.Unauthenticated ? { "www-authenticate": "Bearer" } : {};
  const waitMs = retryAfterMs(error);
  if (waitMs !== undefined) headers["retry-after"] = String(Math.max(1, Math.ceil(waitMs / 1000)));
  answerJson(
    response,
    statuses[error.code] ?? 500,
    { code: snakeCase(Code[error.code]), message: error.rawMessage },
    headers,
  );
}

const snakeCase = (name: string) => name.replace(/(?<=[a-z])[A-Z]/g, "_$&").toLowerCase();
