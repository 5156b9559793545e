/**
 * The calls that come by the thousand, without the layers that Connect puts between a handler and the response: for a reader they
 * are a hundred closures and as many promises (30 KB) and three times what taking an event and writing it costs, for a call
 * with one event half of all it costs. A call of the plain kind (binary, no compression, a request that can be read and is
 * valid) is served here; every other one is given to Connect as it came, so its oddities and its mistakes have one place.
 *
 * The same access rules, validation, core and error mapping as everywhere. docs/decisions/0018-direct-calls.md has the figures.
 */
import { randomUUID } from "node:crypto";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { type DescMethod, fromBinary, type Message } from "@bufbuild/protobuf";
import type { Authenticator } from "../auth/authenticator.ts";
import { type Principal, toCaller } from "../auth/principal.ts";
import type { CallNotes } from "../core/call-notes.ts";
import { type LogBug, toConnectError } from "./error-mapping.ts";
import { authorize } from "./interceptors.ts";
import { type PlainProtocol, plainProtocolOf } from "./plain-protocol.ts";
import { clientLeft } from "./response-sink.ts";
import { invalidReason } from "./validation.ts";

export interface DirectCallDeps {
  readonly authenticator: Authenticator;
  readonly logBug: LogBug;
  readonly notesOf: (request: object) => CallNotes | undefined;
  /** Bounds how long the client may take for what is left of an answer that has ended. */
  readonly limitRest: (response: Http2ServerResponse, method: DescMethod) => void;
}

/** A call under way: who makes it, and where its answer goes. */
export interface PlainCall {
  readonly principal: Principal;
  readonly notes: CallNotes | undefined;
  /** Aborted when the client has left. */
  readonly signal: AbortSignal;
  readonly response: Http2ServerResponse;
  readonly protocol: PlainProtocol;
}

/** A method that takes one message, and how it is answered. What is thrown ends the call. */
export interface DirectCall {
  readonly method: DescMethod;
  serve(input: Message, call: PlainCall): Promise<void>;
}

type Handler = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

/** Larger requests are Connect's. */
const requestBytes = 64 * 1024;

export function createDirectCalls(
  deps: DirectCallDeps,
  calls: readonly DirectCall[],
  connect: Handler,
): Handler {
  const byPath = new Map(calls.map((call) => [`/${call.method.parent.typeName}/${call.method.name}`, call]));
  return (request, response) => {
    const call = request.method === "POST" ? byPath.get(request.url) : undefined;
    const protocol =
      call && plainProtocolOf(request.headers, request.httpVersionMajor, call.method.methodKind === "unary");
    if (call === undefined || protocol === undefined) return connect(request, response);
    serve(deps, call, protocol, request, response, connect).catch((error: unknown) =>
      deps.logBug(randomUUID(), error),
    );
  };
}

async function serve(
  deps: DirectCallDeps,
  { method, serve }: DirectCall,
  protocol: PlainProtocol,
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  connect: Handler,
): Promise<void> {
  const left = new AbortController();
  const onClose = () => left.abort(clientLeft);
  response.on("close", onClose);
  const notes = deps.notesOf(request);
  try {
    const authorization = request.headers.authorization ?? null;
    const principal = await authorize(deps.authenticator, method, authorization, (caller) => {
      if (notes !== undefined) notes.caller = toCaller(caller);
    });
    if (principal === undefined) throw new Error(`${method.name} is for anyone: whose data is it about?`);
    const input = await readMessage(request, method, protocol);
    if (left.signal.aborted) return;
    if (input === undefined) {
      response.off("close", onClose);
      return connect(request, response);
    }
    if (notes !== undefined) notes.entered = true;
    await serve(input, { principal, notes, signal: left.signal, response, protocol });
  } catch (error) {
    if (left.signal.aborted) return; // nobody is there to hear of it
    protocol.end(response, toConnectError(error, deps.logBug, notes));
  }
  deps.limitRest(response, method);
}

/** The only message of the request. undefined: there is something about it for Connect to say; the request is as it was. */
async function readMessage(
  request: Http2ServerRequest,
  { input }: DescMethod,
  protocol: PlainProtocol,
): Promise<Message | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.byteLength;
    if (size > requestBytes) break;
  }
  const body = size > requestBytes ? undefined : protocol.unwrap(Buffer.concat(chunks));
  const message = body && parse(body, input);
  if (message === undefined) {
    const rest = request[Symbol.asyncIterator].bind(request);
    request[Symbol.asyncIterator] = () => again(chunks, size > requestBytes ? rest : undefined);
  }
  return message;
}

function parse(bytes: Buffer, input: DescMethod["input"]): Message | undefined {
  try {
    const message = fromBinary(input, bytes);
    return invalidReason(input, message) === undefined ? message : undefined;
  } catch {
    return undefined; // Connect finds it too, and says what it is
  }
}

async function* again(
  chunks: readonly Buffer[],
  rest: (() => AsyncIterator<Buffer>) | undefined,
): AsyncGenerator<Buffer> {
  yield* chunks;
  if (rest !== undefined) yield* { [Symbol.asyncIterator]: rest };
}
