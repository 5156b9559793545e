/** The streams of events that thousands may read, answered directly: see direct-calls.ts. */
import { create, type DescMessage, type Message, toBinary } from "@bufbuild/protobuf";
import type { StreamMessage } from "../../gen/tributary/v1/event_pb.ts";
import { toAccess, toCallOwner } from "../auth/principal.ts";
import type { FollowMessage } from "../core/follow.ts";
import { type SubscribeDeps, subscribe } from "../core/subscribe.ts";
import { toStreamMessage, toSubscribeOptions } from "./conversions.ts";
import type { DirectCall, PlainCall } from "./direct-calls.ts";
import { encodeFrame, envelope } from "./encoded-events.ts";
import { type EventStream, type EventStreamRequest, eventStreams } from "./event-streams.ts";
import { begin } from "./plain-protocol.ts";
import { roomIn, sinkOf } from "./response-sink.ts";

export const directStreams = (deps: SubscribeDeps): readonly DirectCall[] =>
  Object.values(eventStreams).map((stream) => ({
    method: stream.method,
    serve: (input, call) => serve(deps, stream, input, call),
  }));

/** Not async itself: the request is let go as soon as it is understood. */
function serve(
  deps: SubscribeDeps,
  { method, toTarget }: EventStream,
  input: EventStreamRequest,
  { principal, notes, signal, response, protocol }: PlainCall,
): Promise<void> {
  if (notes !== undefined) notes.messagesIn = 1;
  const messages = subscribe(
    deps,
    toAccess(principal),
    toCallOwner(principal),
    toTarget(input),
    toSubscribeOptions(input.options),
    signal,
    sinkOf(response, encodeFrame, notes),
  );
  return pass(messages, method.output, { notes, signal, response, protocol });
}

async function pass(
  messages: AsyncIterable<FollowMessage>,
  output: DescMessage,
  { notes, signal, response, protocol }: Pick<PlainCall, "notes" | "signal" | "response" | "protocol">,
): Promise<void> {
  for await (const message of messages) {
    begin(response, protocol);
    notes?.sent(message.kind === "events" ? message.events : undefined);
    if (!response.write(encode(output, message))) await roomIn(response, signal);
  }
  protocol.end(response, undefined);
}

function encode(output: DescMessage, message: FollowMessage): Uint8Array {
  if (message.kind === "events") return encodeFrame(message.events);
  const answer = create(output) as Message & { message?: StreamMessage };
  answer.message = toStreamMessage(message);
  return envelope(toBinary(output, answer));
}
