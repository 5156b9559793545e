/**
 * The body of a request with one message. What is there at once is taken at once; all else goes the way of every body, with
 * its bounds (http/request-body.ts): what came so far is put back first.
 */
import type { Http2ServerRequest } from "node:http2";

/** A body of up to so many bytes counts towards no bound but that of time. */
const smallBytes = 8192;
/** After so long it has not come at once, ms. */
const atOnceMs = 1000;

export interface Body {
  /** undefined: larger than was asked for. */
  readonly bytes: Buffer | undefined;
  /** Lets whoever reads the request next begin anew. */
  putBack(): void;
}

export async function readBody(request: Http2ServerRequest, most: number): Promise<Body> {
  const small = await readAtOnce(request, Math.min(most, smallBytes));
  if (small !== undefined) return { bytes: small, putBack: () => begin(request, [small], undefined) };
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.byteLength;
    if (size > most) break;
  }
  const rest = size > most ? request[Symbol.asyncIterator].bind(request) : undefined;
  return {
    bytes: rest === undefined ? Buffer.concat(chunks) : undefined,
    putBack: () => begin(request, chunks, rest),
  };
}

/** undefined: it is large or takes its time, and none of it was taken. */
function readAtOnce(request: Http2ServerRequest, most: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    let taken: Buffer | undefined;
    const leave = () => {
      clearTimeout(timer);
      request.off("readable", onReadable);
      request.off("end", onEnd);
      request.off("close", giveUp);
    };
    const onReadable = () => {
      const chunk = request.read() as Buffer | null;
      if (chunk === null) return;
      taken = taken === undefined ? chunk : Buffer.concat([taken, chunk]);
      if (taken.byteLength > most) giveUp();
    };
    const onEnd = () => {
      leave();
      resolve(taken ?? Buffer.alloc(0));
    };
    const giveUp = () => {
      leave();
      if (taken !== undefined) request.unshift(taken);
      resolve(undefined);
    };
    const timer = setTimeout(giveUp, atOnceMs);
    request.on("readable", onReadable);
    request.on("end", onEnd);
    request.on("close", giveUp);
  });
}

function begin(
  request: Http2ServerRequest,
  chunks: readonly Buffer[],
  rest: (() => AsyncIterator<Buffer>) | undefined,
): void {
  request[Symbol.asyncIterator] = () => again(chunks, rest);
}

async function* again(
  chunks: readonly Buffer[],
  rest: (() => AsyncIterator<Buffer>) | undefined,
): AsyncGenerator<Buffer> {
  yield* chunks;
  if (rest !== undefined) yield* { [Symbol.asyncIterator]: rest };
}
