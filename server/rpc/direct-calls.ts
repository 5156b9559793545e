/**
 * The calls that come by the thousand, without the layers that Connect puts between a handler and the response: for a reader they
 * are a hundred closures and as many promises (30 KB) and three times what taking an event and writing it costs, for a call
 * with one message half of all it costs. A call of the plain kind (binary, no compression, a request that can be read and is
 * valid) is served here; every other one is given to Connect as it came, so its oddities and its mistakes have one place.
 *
 * The same gate, validation, core and error mapping as everywhere. docs/decisions/0018-direct-calls.md has the figures.
 */
import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { type DescMethod, fromBinary, type Message } from "@bufbuild/protobuf";
import { Code, ConnectError, type ContextValues } from "@connectrpc/connect";
import type { Principal } from "../auth/principal.ts";
import type { CallNotes } from "../core/call-notes.ts";
import { notesKey, principalOf } from "./context.ts";
import { type LogBug, toConnectError } from "./error-mapping.ts";
import type { Gate } from "./interceptors.ts";
import { readBody } from "./plain-body.ts";
import { type Decode, plainMessages } from "./plain-messages.ts";
import { deadlineOf, type PlainProtocol, plainProtocolOf } from "./plain-protocol.ts";
import { clientLeft } from "./response-sink.ts";
import { isValid } from "./validation.ts";

export interface DirectCallDeps {
  /** Checks who calls, before anything of the body is read. */
  readonly gate: Gate;
  readonly logBug: LogBug;
  readonly notesOf: (request: object) => CallNotes | undefined;
  /** What each call is to know from its connection. */
  readonly valuesOf: (request: Http2ServerRequest) => ContextValues;
  /** Bounds how long the client may take for what is left of an answer that has ended. */
  readonly limitRest: (response: Http2ServerResponse, method: DescMethod) => void;
}

/** A call under way: who makes it, and where its answer goes. */
export interface PlainCall {
  /** Of a call that anyone may make it throws. */
  readonly principal: Principal;
  readonly values: ContextValues;
  readonly notes: CallNotes | undefined;
  /** Aborted when the client has left, or its deadline is over. */
  readonly signal: AbortSignal;
  readonly request: Http2ServerRequest;
  readonly response: Http2ServerResponse;
  readonly protocol: PlainProtocol;
}

/** A method that takes one message, and how it is answered. What is thrown ends the call. */
export interface DirectCall {
  readonly method: DescMethod;
  /** Larger requests are Connect's; absent: 64 KiB. */
  readonly requestBytes?: number | undefined;
  serve(input: Message, call: PlainCall): Promise<void>;
}

/** A method that takes a stream of messages. Each is judged by whoever serves it; they end with the input or with `until`. */
export interface DirectIntake {
  readonly method: DescMethod;
  /** Reads plain messages; absent: the generated decoder reads all. */
  readonly decode?: Decode<Message>;
  take(messages: (until: AbortSignal) => AsyncIterable<Message>, call: PlainCall): Promise<void>;
}

type Handler = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

const defaultRequestBytes = 64 * 1024;

export function createDirectCalls(
  deps: DirectCallDeps,
  calls: readonly (DirectCall | DirectIntake)[],
  connect: Handler,
): Handler {
  const byPath = new Map(calls.map((call) => [`/${call.method.parent.typeName}/${call.method.name}`, call]));
  return (request, response) => {
    const call = request.method === "POST" ? byPath.get(request.url) : undefined;
    if (call === undefined) return connect(request, response);
    const { headers } = request;
    const kind = call.method.methodKind;
    const protocol = plainProtocolOf(headers, request.httpVersionMajor, kind === "unary");
    const deadlineMs = protocol && deadlineOf(headers, protocol);
    // That of a stream of answers is Connect's to keep.
    const isOdd = deadlineMs === "odd" || (deadlineMs !== undefined && kind === "server_streaming");
    if (protocol === undefined || isOdd) return connect(request, response);
    serve(deps, call, protocol, deadlineMs, request, response, connect).catch((error: unknown) =>
      deps.logBug(randomUUID(), error),
    );
  };
}

async function serve(
  deps: DirectCallDeps,
  call: DirectCall | DirectIntake,
  protocol: PlainProtocol,
  deadlineMs: number | undefined,
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  connect: Handler,
): Promise<void> {
  const ending = new AbortController();
  let hasLeft = false;
  const onClose = () => {
    hasLeft = true;
    ending.abort(clientLeft);
  };
  response.on("close", onClose);
  const timer = deadlineMs === undefined ? undefined : endAfter(ending, deadlineMs);
  const notes = deps.notesOf(request);
  try {
    const started = await start(deps, call, { notes, signal: ending.signal, request, response, protocol });
    await started.done;
    if (started.isOdd && !hasLeft) {
      response.off("close", onClose);
      connect(request, response);
    }
  } catch (error) {
    if (hasLeft) return; // nobody is there to hear of it
    protocol.end(response, toConnectError(error, deps.logBug, notes));
  } finally {
    clearTimeout(timer);
    // Handed to Connect it has not ended.
    if (response.writableEnded) deps.limitRest(response, call.method);
  }
}

interface Started {
  /** The request is for Connect, as it came. */
  readonly isOdd?: true;
  readonly done?: Promise<void>;
}

/** From the gate to the implementation; apart from what waits for that, so that a stream does not keep its request for hours. */
async function start(
  deps: DirectCallDeps,
  call: DirectCall | DirectIntake,
  under: Omit<PlainCall, "principal" | "values">,
): Promise<Started> {
  const { method } = call;
  const { notes, request, protocol, signal } = under;
  const values = deps.valuesOf(request).set(notesKey, notes);
  await deps.gate({ method, values, requestHeader: headersOf(request.headers) });
  const allowed = {
    ...under,
    get principal() {
      return principalOf({ method, values });
    },
    values,
  };
  if ("take" in call) {
    const tell = (count: number) => {
      if (notes !== undefined) notes.messagesIn = count;
    };
    if (notes !== undefined) notes.entered = true;
    const { endFlag } = protocol;
    return {
      done: call.take(
        (until) => plainMessages(method.input, request, endFlag, until, tell, call.decode),
        allowed,
      ),
    };
  }
  const most = call.requestBytes ?? defaultRequestBytes;
  const body = await readBody(request, most);
  if (signal.aborted && signal.reason === clientLeft) return {};
  const bytes = body.bytes && protocol.unwrap(body.bytes);
  const input = bytes && bytes.byteLength <= most ? parse(bytes, method.input) : undefined;
  if (input === undefined) {
    body.putBack();
    return { isOdd: true };
  }
  if (notes !== undefined) notes.entered = true;
  return { done: call.serve(input, allowed) };
}

function endAfter(ending: AbortController, ms: number): NodeJS.Timeout | undefined {
  const end = () => ending.abort(new ConnectError("the operation timed out", Code.DeadlineExceeded));
  if (ms > 0) return setTimeout(end, ms);
  end();
  return undefined;
}

/** What the gate asks for. */
const headersOf = (headers: IncomingHttpHeaders) => ({
  get: (name: string) => {
    const value = headers[name];
    return typeof value === "string" ? value : null;
  },
  has: (name: string) => headers[name] !== undefined,
});

function parse(bytes: Buffer, schema: DescMethod["input"]): Message | undefined {
  try {
    const message = fromBinary(schema, bytes);
    return isValid(schema, message) ? message : undefined;
  } catch {
    return undefined; // Connect finds it too, and says what it is
  }
}
