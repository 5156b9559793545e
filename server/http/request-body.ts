/**
 * The body of a call that takes exactly one message: it arrives in time and within bounds, or the call ends by an error that
 * says so. All such bodies together are bounded too, so that many clients that each send a little, slowly, cannot fill
 * the memory. Calls that take a stream of messages are left alone: they may last, and have bounds of their own.
 */
import type { Http2ServerRequest } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { toConnectError } from "../rpc/error-mapping.ts";
import type { EdgeLimits } from "./edge-limits.ts";

export interface BodyLimits {
  /** Longest time until all of it is there, ms. */
  readonly timeoutMs: number;
  /** The largest message that is taken, bytes. */
  readonly messageBytes: number;
}

/** What surrounds a message on the way: a frame's head. */
const framingBytes = 5;
/**
 * The beginning of each body does not count for what all may have together, bytes: those who fill that with large ones do not
 * keep small ones out, and calls without a credential, which are small, have no part in it.
 */
const freeBytes = 8192;

export type LimitBody = (request: Http2ServerRequest, limits: BodyLimits) => void;

/** Bounds for the bodies of one port. */
export function createBodyLimits(limits: EdgeLimits): LimitBody {
  const arriving = { all: 0, byConnection: new WeakMap<object, number>() };
  const add = (connection: object, bytes: number) => {
    const own = (arriving.byConnection.get(connection) ?? 0) + bytes;
    arriving.byConnection.set(connection, own);
    arriving.all += bytes;
    return own > limits.connectionBodiesBytes || arriving.all > limits.bodiesBytes;
  };
  return (request, { timeoutMs, messageBytes }) => {
    const connection: object = request.stream?.session ?? request.socket;
    const beganMs = performance.now();
    async function* read(): AsyncGenerator<Buffer> {
      // Who stops in the middle would else destroy the request, and nothing could read on.
      const chunks = request.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
      const { promise: late, reject } = Promise.withResolvers<never>();
      // From the head on, whoever looked at the beginning of the body before (rpc/plain-body.ts).
      const leftMs = Math.max(0, timeoutMs - (performance.now() - beganMs));
      const timer = setTimeout(() => reject(tooLate(timeoutMs)), leftMs);
      let bytes = 0;
      let counted = 0;
      try {
        for (;;) {
          const next = await Promise.race([chunks.next(), late]);
          if (next.done === true) return;
          bytes += next.value.length;
          if (bytes > messageBytes + framingBytes) throw tooLarge(messageBytes);
          if (bytes > freeBytes) {
            const isTooMuch = add(connection, bytes - freeBytes - counted);
            counted = bytes - freeBytes;
            if (isTooMuch) throw tooMuchAtOnce();
          }
          yield next.value;
        }
      } finally {
        clearTimeout(timer);
        if (counted > 0) add(connection, -counted);
        // Not awaited: a next() that is waiting for more would have to end first.
        chunks.return?.().catch(() => {}); // its error is that of the request, which others hear
      }
    }
    request[Symbol.asyncIterator] = read as typeof request.iterator;
  };
}

/** Marked as this server's own, like every error. */
const refused = (message: string, code: Code) => toConnectError(new ConnectError(message, code), () => {}); // no bug, so nothing to log

const tooLate = (ms: number) =>
  refused(
    `the message did not arrive within ${ms / 1000} s; nothing was done. Send it anew, or in smaller parts`,
    Code.DeadlineExceeded,
  );

const tooLarge = (bytes: number) =>
  refused(`a message may have ${bytes} bytes, and this call takes one`, Code.ResourceExhausted);

const tooMuchAtOnce = () =>
  refused(
    "too many bytes of calls that have not arrived yet; try again later, with fewer calls at once",
    Code.ResourceExhausted,
  );
