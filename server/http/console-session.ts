/**
 * `POST /console/session`: who the console's page may be without asking anybody. In development mode that is the tenant
 * `dev`, with its key; else nobody, and the page asks for a key.
 *
 * Only the page that this server itself served gets the key. The Host must be this machine's own name (origin.ts), so no name
 * that was bound anew; and the browser must say that the page is of the same origin, in two headers that no page can set.
 * A program on this machine can say the same: whoever may run programs here may read the key anyway, or should be kept out
 * by TRIBUTARY_ADMIN_KEY.
 */
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { answerJson } from "./answer.ts";

export const consoleSessionPath = "/console/session";

/** The tenant of development mode, with its key; undefined: another mode. */
export interface ConsoleSession {
  readonly tenant: string;
  readonly key: string;
}

export function serveConsoleSession(
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  session: ConsoleSession | undefined,
): void {
  if (request.method !== "POST") {
    const message = `${request.method} ${consoleSessionPath}: only POST is served here`;
    answerJson(response, 405, { code: "unimplemented", message }, { allow: "POST" });
  } else if (session === undefined) answerJson(response, 200, { mode: "production" });
  else if (isOwnPage(request)) {
    const headers = { "cross-origin-resource-policy": "same-origin" };
    answerJson(response, 200, { mode: "development", ...session }, headers);
  } else {
    const message = "the key of development mode is given to the console of this server alone, in a browser";
    answerJson(response, 403, { code: "permission_denied", message });
  }
}

function isOwnPage(request: Http2ServerRequest): boolean {
  const { origin, host } = request.headers;
  if (request.headers["sec-fetch-site"] !== "same-origin" || origin === undefined) return false;
  return URL.parse(origin)?.host === (request.authority ?? host ?? "").toLowerCase();
}
