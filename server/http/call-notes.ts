/**
 * Notes each request that comes in, whatever it is, and tells when it has ended: with its request id, which the answer
 * carries, and its code, which is the same for all protocols.
 *
 * Most codes are known where errors are mapped. What fails before it comes there (a message that cannot be read) is
 * read off what is sent: the trailers of gRPC, the last envelope of gRPC-Web and Connect, the HTTP status.
 */
import { randomBytes } from "node:crypto";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { Code } from "@connectrpc/connect";
import { ruleOf } from "../auth/access-rules.ts";
import { apiKeyPrefix } from "../auth/api-key.ts";
import { CallNotes } from "../core/call-notes.ts";
import { fromHeader } from "../core/traceparent.ts";
import type { CallProtocol, Tracing } from "../core/tracing.ts";

export interface CallObserver {
  /** undefined: nobody traces. */
  readonly tracing: Tracing | undefined;
  /** Told of each request once, at its end. */
  readonly onEnd: (notes: CallNotes) => void;
}

/** Of what is asked all the time by machines: their calls are not traced. */
const quietRoutes: ReadonlySet<string> = new Set(["/healthz", "/readyz", "/metrics"]);

/** By request, for who serves it. */
const noted = new WeakMap<object, CallNotes>();

export const notesOf = (request: object): CallNotes | undefined => noted.get(request);

export function noteCall(
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  path: string,
  sseRoute: string | undefined,
  { tracing, onEnd }: CallObserver,
): CallNotes {
  const { headers } = request;
  const rpc = sseRoute === undefined ? rpcOf(path) : undefined;
  const protocol = sseRoute === undefined ? (rpc === undefined ? "http" : protocolOf(headers)) : "sse";
  const requestId = requestIdOf(headers["x-request-id"]);
  const notes = new CallNotes(
    {
      method: rpc ?? `${verbOf(request.method)} ${sseRoute ?? (quietRoutes.has(path) ? path : "(no route)")}`,
      protocol,
      parent: tracing === undefined ? undefined : fromHeader(headers.traceparent),
      requestId,
      peer: peerOf(request),
    },
    protocol === "http" ? undefined : tracing,
  );
  noted.set(request, notes);
  response.setHeader("x-request-id", requestId);
  response.on("close", () => {
    const { statusCode, writableEnded } = response;
    if (notes.end(writableEnded ? codeOfStatus(statusCode) : "canceled", statusCode)) onEnd(notes);
  });
  return notes;
}

/** "package.Service/Method" of an RPC that there is: a closed list, whatever is asked for. */
function rpcOf(path: string): string | undefined {
  const known = rpcs.get(path);
  if (known !== undefined) return known;
  const [, service = "", method = "", more] = path.split("/", 4);
  if (more !== undefined || ruleOf(service, method) === undefined) return undefined;
  const rpc = path.slice(1);
  rpcs.set(path, rpc);
  return rpc;
}

/** By path, those that were called. */
const rpcs = new Map<string, string>();

const verbs: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
const verbOf = (verb: string): string => (verbs.has(verb) ? verb : "(other)");

function protocolOf(headers: Http2ServerRequest["headers"]): CallProtocol {
  const type = headers["content-type"] ?? "";
  if (type.startsWith("application/grpc-web")) return "grpc-web";
  return type.startsWith("application/grpc") ? "grpc" : "connect";
}

/** A name of the caller's, for the log, a header and a span: short and plain, and not a key by mistake. */
function requestIdOf(given: unknown): string {
  const isSane = typeof given === "string" && /^[\w.:-]{1,64}$/.test(given) && !given.includes(apiKeyPrefix);
  return isSane ? given : `${ownIds}-${(++lastId).toString(36)}`;
}

/** Of this process; cheaper than a random one each, and shorter in each line. */
const ownIds = randomBytes(8).toString("hex");
let lastId = 0;

/** Who is at the other end of the connection: behind a proxy that is the proxy. */
function peerOf(request: Http2ServerRequest): string | undefined {
  const socket = request.httpVersionMajor === 2 ? request.stream.session?.socket : request.socket;
  return socket?.remoteAddress;
}

const codes: Readonly<Record<number, string>> = {
  400: "invalid_argument",
  401: "unauthenticated",
  403: "permission_denied",
  404: "not_found",
  405: "unimplemented",
  408: "deadline_exceeded",
  409: "aborted",
  412: "failed_precondition",
  415: "invalid_argument",
  416: "out_of_range",
  429: "resource_exhausted",
  500: "internal",
  501: "unimplemented",
  503: "unavailable",
};

const codeOfStatus = (status: number): string => (status < 400 ? "ok" : (codes[status] ?? "unknown"));

const nameOf = (code: number): string =>
  (Code[code] ?? "Unknown").replaceAll(/(?<=[a-z])[A-Z]/g, "_$&").toLowerCase();

/** Of an answer whose code nobody says but itself. */
export function readCode(response: Http2ServerResponse, notes: CallNotes): void {
  if (notes.protocol === "grpc-web" || notes.protocol === "connect") readLastEnvelope(response, notes);
  else if (notes.protocol === "grpc") readTrailers(response, notes);
}

function readTrailers(response: Http2ServerResponse, notes: CallNotes): void {
  const { addTrailers } = response;
  response.addTrailers = (trailers) => {
    const status = Number(trailers["grpc-status"] ?? 0);
    if (status !== 0) notes.failed(nameOf(status));
    return addTrailers.call(response, trailers);
  };
}

/** Only until the call comes to its implementation: whatever fails from there on is noted by it. */
function readLastEnvelope(response: Http2ServerResponse, notes: CallNotes): void {
  const write = response.write as (...given: unknown[]) => boolean;
  response.write = (...given: unknown[]) => {
    response.write = write as typeof response.write;
    if (!notes.entered && given[0] instanceof Uint8Array && given[0].length < 65_536) {
      const text = Buffer.from(given[0]).toString("latin1");
      const status = Number(/grpc-status: *(\d+)/i.exec(text)?.[1] ?? 0);
      const code = status > 0 ? nameOf(status) : /^.{0,5}\{"error":\{"code":"(\w+)"/s.exec(text)?.[1];
      if (code !== undefined) notes.failed(code);
    }
    return write.apply(response, given);
  };
}
