/** Where a request goes: origin check, then health, SSE, or the RPCs; everything else gets a clear 404 or 405. */
import { randomUUID } from "node:crypto";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { answerJson } from "./answer.ts";
import { type CallObserver, noteCall } from "./call-notes.ts";
import { type Readiness, serveHealthz, serveReadyz } from "./health.ts";
import { type MetricsRoute, serveMetrics } from "./metrics.ts";
import type { OriginCheck } from "./origin.ts";
import type { Handler } from "./port.ts";
import { repairCall } from "./request-repairs.ts";
import { type SseDeps, serveSse, sseRouteOf } from "./sse.ts";

export interface HandlerDeps {
  /** undefined: requests are not noted. */
  readonly observer: CallObserver | undefined;
  readonly originCheck: OriginCheck;
  readonly readiness: Readiness;
  readonly sse: SseDeps;
  readonly metrics: MetricsRoute;
  /** What is wrong with the verb or content type of a request to an RPC; undefined: nothing, or it is none. */
  readonly findMistake: (
    path: string,
    verb: string | undefined,
    contentType: string | undefined,
  ) => { readonly status: number; readonly message: string } | undefined;
  /** The RPCs; calls `fallback` for paths that are none. */
  readonly rpc: (fallback: Handler) => Handler;
}

export function createHandler(deps: HandlerDeps): Handler {
  const rpc = deps.rpc(notFound);
  return (request, response) => {
    // A client that leaves in the middle is no fault of this server.
    request.on("error", () => {});
    response.on("error", () => {});
    const url = toUrl(request.url);
    const sseRoute = url && sseRouteOf(url.pathname);
    const notes = deps.observer && noteCall(request, response, url?.pathname ?? "", sseRoute, deps.observer);
    if (!deps.originCheck(request, response)) return;
    if (url === undefined) return answerJson(response, 400, badPath(request.url));
    const isSse = sseRoute !== undefined;
    if (!isSse && !plainRoutes.has(url.pathname)) {
      const mistake = deps.findMistake(url.pathname, request.method, request.headers["content-type"]);
      if (mistake !== undefined) {
        const { status, message } = mistake;
        const headers: Record<string, string> = status === 405 ? { allow: "POST" } : {};
        return answerJson(response, status, { code: "unknown", message }, headers);
      }
      repairCall(request, response);
      return rpc(request, response);
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      return answerJson(
        response,
        405,
        { code: "unimplemented", message: `${request.method} ${url.pathname}: only GET is served here` },
        { allow: "GET, HEAD" },
      );
    }
    if (url.pathname === "/healthz") return serveHealthz(response);
    const serving = isSse
      ? serveSse(deps.sse, request, response, url, notes)
      : url.pathname === "/metrics"
        ? serveMetrics(response, deps.metrics)
        : serveReadyz(response, deps.readiness);
    // Nothing is known to come here; one request's bug must not end the process.
    serving.catch((error: unknown) => deps.sse.logBug(randomUUID(), error));
  };
}

/** Those that need no credential: `routeRules` in auth/access-rules.ts. */
const plainRoutes: ReadonlySet<string> = new Set(["/healthz", "/readyz", "/metrics"]);

/** /package.Service/Method */
const rpcPath = /^\/[\w.]+\.\w+\/\w+$/;

function notFound(request: Http2ServerRequest, response: Http2ServerResponse): void {
  const path = request.url.split("?")[0];
  answerJson(response, 404, {
    // To a client of an RPC that this server does not know, the code says more than the status.
    code: rpcPath.test(request.url) ? "unimplemented" : "not_found",
    message: `${request.method} ${path}: there is nothing here. RPCs are POST /tributary.v1.<Service>/<Method>; event streams GET /api/tenants/<slug>/stream/workflows/<id>; see the README`,
  });
}

function toUrl(path: string): URL | undefined {
  // Not new URL(path, base): "//x" would be read as a host.
  return URL.parse(`http://localhost${path.startsWith("/") ? path : `/${path}`}`) ?? undefined;
}

const badPath = (path: string) => ({
  code: "invalid_argument",
  message: `${JSON.stringify(path.slice(0, 80))} is not a path`,
});
