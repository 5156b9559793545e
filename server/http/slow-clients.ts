/**
 * Clients that do not end what they began. Who does not take its answer loses it, else a client with a window of zero would
 * keep what the answer holds for ever. And after an answer that came before its request was read to the end, the rest
 * is read and thrown away, for a while: on HTTP/1.1 the next request on the connection would wait for ever.
 */
import { constants, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { EdgeLimits } from "./edge-limits.ts";

/** Bounds how long the client of an answer that is no stream may take for it. */
export function limitAnswer(response: Http2ServerResponse, ms: number): void {
  const { writeHead } = response;
  response.writeHead = ((...head: Parameters<typeof writeHead>) => {
    cutAfter(response, ms);
    return writeHead.apply(response, head);
  }) as typeof writeHead;
}

/** As above, from the end of a stream on: before that a reader may be as slow as it likes. */
export function limitLastMessages(response: Http2ServerResponse, ms: number): void {
  const { end } = response;
  response.end = ((...last: Parameters<typeof end>) => {
    cutAfter(response, ms);
    return end.apply(response, last);
  }) as typeof end;
}

/** Bounds how long the client of an answer that has ended may still take for the rest of it. */
export function cutAfter(response: Http2ServerResponse, ms: number): void {
  const timer = setTimeout(() => {
    // Of HTTP/1.1 there is only the connection to cut.
    if (response.stream === undefined) response.socket?.destroy();
    else response.stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }, ms).unref();
  response.on("close", () => clearTimeout(timer));
}

export function readToTheEnd(
  request: Http2ServerRequest,
  response: Http2ServerResponse,
  { restMs }: EdgeLimits,
): void {
  // Who stops in the middle of `for await` would destroy the request, and nothing could read on.
  request[Symbol.asyncIterator] = () => request.iterator({ destroyOnReturn: false });
  response.on("finish", () => {
    if (request.complete) return;
    request.resume();
    const timer = setTimeout(() => {
      // Of HTTP/2 the stream: to destroy the request would leave it open. No error, since the answer is whole (RFC 9113, 8.1).
      if (response.stream === undefined) request.destroy();
      else response.stream.close(constants.NGHTTP2_NO_ERROR);
    }, restMs);
    timer.unref();
    request.on("close", () => clearTimeout(timer));
  });
}
