/** Where a request goes: origin check, then the console, health, SSE, or the RPCs; everything else gets a clear 404 or 405. */
import { randomUUID } from "node:crypto";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { answerJson } from "./answer.ts";
import type { ConsoleFiles } from "./console.ts";
import { type ConsoleSession, consoleSessionPath, serveConsoleSession } from "./console-session.ts";
import { type Readiness, serveHealthz, serveReadyz } from "./health.ts";
import { type MetricsRoute, serveMetrics } from "./metrics.ts";
import type { OriginCheck } from "./origin.ts";
import type { Handler } from "./port.ts";
import { repairCall } from "./request-repairs.ts";
import { isSsePath, type SseDeps, serveSse } from "./sse.ts";

export interface HandlerDeps {
  readonly originCheck: OriginCheck;
  readonly readiness: Readiness;
  readonly sse: SseDeps;
  readonly metrics: MetricsRoute;
  readonly console: ConsoleFiles;
  /** Development mode: what the console may sign in with. */
  readonly consoleSession: ConsoleSession | undefined;
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
    if (!deps.originCheck(request, response)) return;
    const url = toUrl(request.url);
    if (url === undefined) return answerJson(response, 400, badPath(request.url));
    const isSse = isSsePath(url.pathname);
    const isConsole = deps.console.owns(url.pathname);
    if (url.pathname === consoleSessionPath) {
      return serveConsoleSession(request, response, deps.consoleSession);
    }
    if (!isSse && !isConsole && !plainRoutes.has(url.pathname)) {
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
    const serving = isConsole
      ? serveConsole(deps.console, request, response, url.pathname)
      : isSse
        ? serveSse(deps.sse, request, response, url)
        : url.pathname === "/metrics"
          ? serveMetrics(response, deps.metrics)
          : serveReadyz(response, deps.readiness);
    // Nothing is known to come here; one request's bug must not end the process.
    serving.catch((error: unknown) => deps.sse.logBug(randomUUID(), error));
  };
}

async function serveConsole(
  files: ConsoleFiles,
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  path: string,
): Promise<void> {
  if (!(await files.serve(request, response, path))) notFound(request, response);
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
