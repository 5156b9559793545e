/**
 * The server streams that thousands may read, without the layers that Connect puts between a handler and the response: for each
 * reader they are a hundred closures and as many promises (30 KB), and cost three times what taking an event and writing
 * it does. A call of the plain kind (binary, no compression, no deadline, a request that can be read and is valid) is served here;
 * every other one is given to Connect as it came, so its oddities and its mistakes have one place.
 *
 * The same access rules, validation, core and error mapping as everywhere. docs/decisions/0018-direct-streams.md has the figures.
 */
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { create, type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import type { StreamMessage } from "../../gen/tributary/v1/event_pb.ts";
import type { Authenticator } from "../auth/authenticator.ts";
import { toAccess, toCallOwner } from "../auth/principal.ts";
import type { CallNotes } from "../core/call-notes.ts";
import type { FollowMessage } from "../core/follow.ts";
import { type SubscribeDeps, subscribe } from "../core/subscribe.ts";
import { toStreamMessage, toSubscribeOptions } from "./conversions.ts";
import { encodeFrame, envelope } from "./encoded-events.ts";
import { type LogBug, toConnectError } from "./error-mapping.ts";
import { type EventStream, type EventStreamRequest, eventStreams } from "./event-streams.ts";
import { authorize } from "./interceptors.ts";
import { clientLeft, roomIn, sinkOf } from "./response-sink.ts";
import { plainProtocolOf, type StreamProtocol } from "./stream-protocol.ts";
import { invalidReason } from "./validation.ts";

export interface DirectStreamsDeps extends SubscribeDeps {
  readonly authenticator: Authenticator;
  readonly logBug: LogBug;
  readonly notesOf: (request: object) => CallNotes | undefined;
}

type Handler = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

/** Larger requests are Connect's. */
const requestBytes = 64 * 1024;

export function createDirectStreams(deps: DirectStreamsDeps, connect: Handler): Handler {
  const byPath = new Map(
    Object.values(eventStreams).map((stream) => [
      `/${stream.method.parent.typeName}/${stream.method.name}`,
      stream,
    ]),
  );
  return (request, response) => {
    const stream = byPath.get(request.url);
    const protocol =
      stream && request.method === "POST"
        ? plainProtocolOf(request.headers, request.httpVersionMajor)
        : undefined;
    if (stream === undefined || protocol === undefined) return connect(request, response);
    void serve(deps, stream, protocol, request, response, connect);
  };
}

async function serve(
  deps: DirectStreamsDeps,
  { method, toTarget }: EventStream,
  protocol: StreamProtocol,
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  connect: Handler,
): Promise<void> {
  const left = new AbortController();
  const onClose = () => left.abort(clientLeft);
  response.once("close", onClose);
  const notes = deps.notesOf(request);
  try {
    const authorization = request.headers.authorization ?? null;
    const principal = await authorize(deps.authenticator, method, authorization, notes);
    if (principal === undefined) throw new Error(`${method.name} is for anyone: whose data should it read?`);
    const input = await readMessage(request, method.input);
    if (left.signal.aborted) return;
    if (input === undefined) {
      response.off("close", onClose);
      return connect(request, response);
    }
    if (notes !== undefined) {
      notes.entered = true;
      notes.messagesIn = 1;
    }
    const messages = subscribe(
      deps,
      toAccess(principal),
      toCallOwner(principal),
      toTarget(input),
      toSubscribeOptions(input.options),
      left.signal,
      sinkOf(response, encodeFrame, notes),
    );
    for await (const message of messages) {
      begin(response, protocol);
      notes?.sent(message.kind === "events" ? message.events : undefined);
      if (!response.write(encode(method.output, message))) await roomIn(response, left.signal);
    }
    begin(response, protocol);
    protocol.end(response, undefined);
  } catch (error) {
    if (left.signal.aborted) return; // nobody is there to hear of it
    const mapped = toConnectError(error, deps.logBug, notes);
    begin(response, protocol);
    protocol.end(response, mapped);
  }
}

function begin(response: Http2ServerResponse, { contentType }: StreamProtocol): void {
  if (!response.headersSent) response.writeHead(200, { "content-type": contentType });
}

function encode(output: DescMessage, message: FollowMessage): Uint8Array {
  if (message.kind === "events") return encodeFrame(message.events);
  const answer = create(output) as Message & { message?: StreamMessage };
  answer.message = toStreamMessage(message);
  return envelope(toBinary(output, answer));
}

/** The only message of the request. undefined: there is something about it for Connect to say; the request is as it was. */
async function readMessage(
  request: Http2ServerRequest,
  input: DescMessage,
): Promise<EventStreamRequest | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.byteLength;
    if (size > requestBytes) break;
  }
  const message = size > requestBytes ? undefined : parse(Buffer.concat(chunks), input);
  if (message === undefined) {
    const rest = request[Symbol.asyncIterator].bind(request);
    request[Symbol.asyncIterator] = () => again(chunks, size > requestBytes ? rest : undefined);
  }
  return message;
}

function parse(bytes: Buffer, input: DescMessage): EventStreamRequest | undefined {
  if (bytes.byteLength < 5 || bytes[0] !== 0 || bytes.readUInt32BE(1) !== bytes.byteLength - 5)
    return undefined;
  try {
    const message = fromBinary(input, bytes.subarray(5)) as EventStreamRequest;
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
