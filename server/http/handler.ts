/**
 * Where a request goes: checks of host, size and origin, then the console, health, SSE, or the RPCs; everything else gets a clear 404 or 405.
 * Nothing that a client sends may throw here: that would end the process, for all.
 */
import { randomUUID } from "node:crypto";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { isLoopback } from "../config.ts";
import { limits as messageLimits } from "../core/limits.ts";
import { answerError, answerJson } from "./answer.ts";
import { type CallObserver, noteCall } from "./call-notes.ts";
import type { ConsoleFiles } from "./console.ts";
import { type ConsoleSession, consoleSessionPath, serveConsoleSession } from "./console-session.ts";
import { type EdgeLimits, edgeLimits } from "./edge-limits.ts";
import { type Readiness, serveHealthz, serveReadyz } from "./health.ts";
import { findHost } from "./host.ts";
import { type MetricsRoute, serveMetrics } from "./metrics.ts";
import { hostOf, type OriginCheck } from "./origin.ts";
import type { Handler } from "./port.ts";
import { createBodyLimits } from "./request-body.ts";
import { dropEndlessDeadline } from "./request-repairs.ts";
import { strictTransportSecurity } from "./security-headers.ts";
import { limitAnswer, limitLastMessages, readToTheEnd } from "./slow-clients.ts";
import { type SseDeps, serveSse, sseRouteOf } from "./sse.ts";

export interface HandlerDeps {
  /** undefined: requests are not noted. */
  readonly observer: CallObserver | undefined;
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
  /** What the limits of an RPC depend on; undefined: it is none. See rpc/call-kinds.ts. */
  readonly kindOf: (path: string) => CallKind | undefined;
  /** The RPCs; calls `fallback` for paths that are none. Bounds how long its answers take. */
  readonly rpc: (fallback: Handler) => Handler;
  readonly limits?: EdgeLimits;
}

interface CallKind {
  readonly takesOne: boolean;
  readonly givesOne: boolean;
  readonly isOpen: boolean;
}

export function createHandler(deps: HandlerDeps): Handler {
  const rpc = deps.rpc(notFound);
  const { limits = edgeLimits } = deps;
  const limitBody = createBodyLimits(limits);
  let openStreams = 0;
  return (request, response) => {
    request.on("error", ignore);
    response.on("error", ignore);
    readToTheEnd(request, response, limits);
    const found = findHost(request);
    // To read a URL takes as long as all other looks at a head together, and nearly all are the bare path of an RPC.
    const isBare = barePath.test(request.url);
    const url = isBare ? undefined : toUrl(request.url);
    const path = isBare ? request.url : url?.pathname;
    const sseRoute = url && sseRouteOf(url.pathname);
    const notes = deps.observer && noteCall(request, response, path ?? "", sseRoute, deps.observer);
    const refusal = refusalOf(request, found, limits);
    if (refusal !== undefined) {
      limitAnswer(response, limits.answerMs);
      return answerJson(response, refusal.status, { code: refusal.code, message: refusal.message });
    }
    const strict = strictTransportSecurity(
      request,
      "host" in found && isLoopback(hostOf(`http://${found.host}`)),
    );
    if (strict !== undefined) response.setHeader("strict-transport-security", strict);
    if (!deps.originCheck(request, response)) return;
    if (path === undefined) return answerJson(response, 400, badPath(request.url));
    const isConsole = deps.console.owns(path);
    if (path === consoleSessionPath) {
      limitAnswer(response, limits.answerMs);
      return serveConsoleSession(request, response, deps.consoleSession);
    }
    if (sseRoute === undefined && !isConsole && !plainRoutes.has(path)) {
      const mistake = deps.findMistake(path, request.method, request.headers["content-type"]);
      if (mistake !== undefined) {
        limitAnswer(response, limits.answerMs);
        const { status, message } = mistake;
        const headers: Record<string, string> = status === 405 ? { allow: "POST" } : {};
        return answerJson(response, status, { code: "unknown", message }, headers);
      }
      dropEndlessDeadline(request);
      // Connect answers JSON too, and with GET.
      response.setHeader("x-content-type-options", "nosniff");
      const kind = deps.kindOf(path);
      if (kind?.takesOne) {
        limitBody(
          request,
          kind.isOpen
            ? { timeoutMs: limits.openBodyMs, messageBytes: messageLimits.openMessageBytes }
            : { timeoutMs: limits.bodyMs, messageBytes: messageLimits.messageBytesIn },
        );
      }
      if (kind?.isOpen && !kind.givesOne) {
        // Anybody may open them, and each costs memory for as long as it likes.
        if (openStreams >= limits.openStreams) {
          limitAnswer(response, limits.answerMs);
          return answerError(response, tooManyOpenStreams(limits));
        }
        openStreams++;
        response.on("close", () => openStreams--);
      }
      return rpc(request, response);
    }
    if (sseRoute !== undefined) limitLastMessages(response, limits.streamAnswerMs);
    else limitAnswer(response, limits.answerMs);
    if (request.method !== "GET" && request.method !== "HEAD") {
      return answerJson(
        response,
        405,
        { code: "unimplemented", message: `${request.method} ${path}: only GET is served here` },
        { allow: "GET, HEAD" },
      );
    }
    if (path === "/healthz") return serveHealthz(response);
    const serving = isConsole
      ? serveConsole(deps.console, request, response, path)
      : url !== undefined && sseRoute !== undefined
        ? serveSse(deps.sse, request, response, url, notes)
        : path === "/metrics"
          ? serveMetrics(response, deps.metrics)
          : serveReadyz(response, deps.readiness);
    // Nothing is known to come here; one request's bug must not end the process.
    serving.catch((error: unknown) => deps.sse.logBug(randomUUID(), error));
  };
}

/** A client that leaves in the middle is no fault of this server. */
const ignore = () => {};

/** What is wrong with the head of a request. */
function refusalOf(
  request: Http2ServerRequest,
  found: ReturnType<typeof findHost>,
  limits: EdgeLimits,
): { status: number; code: string; message: string } | undefined {
  if ("mistake" in found) return { status: 400, code: "invalid_argument", message: found.mistake };
  if (request.url.length > limits.pathBytes) {
    const message = `path: ${request.url.length} bytes; at most ${limits.pathBytes} are taken`;
    return { status: 414, code: "invalid_argument", message };
  }
  // On HTTP/2 Node's own limit begins when the client has agreed to it, which a hostile one never does.
  let bytes = 0;
  for (const text of request.rawHeaders) bytes += text.length;
  if (bytes > limits.headBytes) {
    const message = `head: ${bytes} bytes; at most ${limits.headBytes} are taken`;
    return { status: 431, code: "resource_exhausted", message };
  }
  const fields = request.rawHeaders.length / 2;
  if (fields > limits.headFields) {
    const message = `${fields} header fields; at most ${limits.headFields} are taken`;
    return { status: 431, code: "resource_exhausted", message };
  }
  return undefined;
}

const tooManyOpenStreams = ({ openStreams }: EdgeLimits) =>
  new ConnectError(
    `${openStreams} streams that need no credential are open; try again later`,
    Code.ResourceExhausted,
  );

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
/** The same as its own path: no query, no escape, no segment of dots. */
const barePath = /^\/\w[\w.]*\/\w+$/;

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
