/**
 * Writes events to the response of a call beside Connect, which has sent the headers and the first message and waits for the
 * next: the envelope of a message is the same five bytes in gRPC, gRPC-Web and Connect (no flag, length), and the bytes behind
 * it are shared by all readers of a scope. What begins and ends a call stays Connect's, with every rule of its protocol.
 *
 * Measured with 1,000 readers of one tree: see docs/decisions/0018-direct-writes.md.
 */
import type { Http2ServerResponse } from "node:http2";
import { createContextKey, createContextValues, type HandlerContext } from "@connectrpc/connect";
import type { SentEvent } from "../core/batch.ts";
import type { Sink } from "../core/sink.ts";
import { encodeFrame } from "./encoded-events.ts";

const responseKey = createContextKey<Http2ServerResponse | undefined>(undefined, {
  description: "where the answer of this call goes",
});

/** Values for the context of a call that is answered by this response. */
export const valuesFor = (response: Http2ServerResponse | undefined) =>
  createContextValues().set(responseKey, response);

/** The binary answers of a server stream; JSON has no bytes to share. */
const binaryStreams: ReadonlySet<string> = new Set([
  "application/grpc",
  "application/grpc+proto",
  "application/grpc-web",
  "application/grpc-web+proto",
  "application/connect+proto",
]);

/** undefined: this call's messages all go through Connect. */
export function createResponseSink({ values, responseHeader }: HandlerContext): Sink | undefined {
  const response = values.get(responseKey);
  if (response === undefined || !binaryStreams.has(responseHeader.get("content-type") ?? ""))
    return undefined;
  return sinkOf(response, encodeFrame);
}

/** Writes each message as these bytes. */
export function sinkOf(
  response: Pick<Http2ServerResponse, "write" | "once" | "off">,
  toBytes: (events: readonly SentEvent[]) => Uint8Array,
): Sink {
  const sink: Sink = {
    onRoom: () => {},
    write(events) {
      if (response.write(toBytes(events))) return true;
      response.once("drain", onDrain);
      return false;
    },
    close: () => response.off("drain", onDrain),
  };
  const onDrain = () => sink.onRoom();
  return sink;
}
