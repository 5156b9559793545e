/**
 * Which web pages may call. Closed by default: only the origins of CORS_ORIGINS. In development mode, where the server has
 * a well-known tenant, the Host must be this machine's own name too, so that no web page can reach it by DNS rebinding;
 * pages served from this machine are allowed.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { cors as connectCors } from "@connectrpc/connect";
import cors from "cors";
import { isLoopback } from "../config.ts";
import { answerJson } from "./answer.ts";

const preflightSeconds = 7200;

export interface OriginOptions {
  readonly developmentMode: boolean;
  readonly origins: readonly string[];
}

/** Answers preflights and refused callers itself; false: it has answered. */
export type OriginCheck = (request: Http2ServerRequest, response: Http2ServerResponse) => boolean;

export function createOriginCheck({ developmentMode, origins }: OriginOptions): OriginCheck {
  const any = origins.includes("*");
  const isAllowed = (origin: string) =>
    any || origins.includes(origin) || (developmentMode && isLoopback(hostOf(origin)));
  const setHeaders = cors({
    origin: (origin, callback) => callback(null, origin !== undefined && isAllowed(origin)),
    methods: [...connectCors.allowedMethods],
    allowedHeaders: [
      ...connectCors.allowedHeaders,
      "Authorization",
      "Last-Event-ID",
      "Traceparent",
      "X-Request-Id",
    ],
    exposedHeaders: [...connectCors.exposedHeaders, "Tributary-Error", "X-Request-Id"],
    maxAge: preflightSeconds,
  });
  return (request, response) => {
    const { origin } = request.headers;
    if (developmentMode) {
      // One and well-formed: host.ts.
      const host = request.authority ?? request.headers.host ?? "";
      if (!isLoopback(hostOf(`http://${host}`))) {
        answerJson(response, 403, {
          code: "permission_denied",
          message: `Host ${JSON.stringify(host)}: in development mode only localhost and 127.0.0.1 are served; set TRIBUTARY_ADMIN_KEY to serve other names`,
        });
        return false;
      }
      if (origin !== undefined && !isAllowed(origin)) {
        answerJson(response, 403, {
          code: "permission_denied",
          message: `Origin ${JSON.stringify(origin)}: in development mode only pages of this machine may call; see CORS_ORIGINS`,
        });
        return false;
      }
    }
    let goesOn = false;
    setHeaders(request as unknown as IncomingMessage, response as unknown as ServerResponse, () => {
      goesOn = true;
    });
    return goesOn;
  };
}

export function hostOf(origin: string): string {
  const url = URL.parse(origin);
  return url !== null && /^https?:$/.test(url.protocol) ? url.hostname : "";
}
