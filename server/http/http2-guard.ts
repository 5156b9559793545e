/**
 * What Node leaves to us of guarding an HTTP/2 connection: one without calls is ended, and one that opens calls only to break
 * them off (rapid reset), or sends PING and SETTINGS without end, too. (Node's own limits on these count what waits to
 * be sent, which a client that reads its answers keeps low.) Only streams count as calls: a client cannot keep a connection with PING or half a head.
 */
import { constants, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { EdgeLimits } from "./edge-limits.ts";

/** The highest stream id: a notice to go elsewhere, that refuses nothing yet (RFC 9113, 6.8). */
const refusesNothing = 2 ** 31 - 1;

export function guardSession(session: ServerHttp2Session, limits: EdgeLimits): void {
  let open = 0;
  const mayAbandon = createBudget(limits.abandonedBurst, limits.abandonedPerSecond);
  const giveNotice = () => {
    notify(session);
    // Not close(): that waits for the client to hang up.
    timer = later(() => session.destroy(), limits.noticeMs);
  };
  let timer = later(giveNotice, limits.firstCallMs);
  session.on("stream", (stream: ServerHttp2Stream) => {
    open++;
    clearTimeout(timer);
    stream.on("close", () => {
      open--;
      if (session.destroyed) return;
      if (!stream.headersSent && !mayAbandon()) {
        endFor(session, "too many calls were broken off before their answer");
      } else if (open === 0) timer = later(giveNotice, limits.idleHttp2Ms);
    });
  });
  const mayControl = createBudget(limits.controlBurst, limits.controlPerSecond);
  const count = () => {
    if (!mayControl()) endFor(session, "too many PING and SETTINGS");
  };
  session.on("ping", count);
  session.on("remoteSettings", count);
  session.once("close", () => clearTimeout(timer));
}

function endFor(session: ServerHttp2Session, reason: string): void {
  if (session.destroyed) return;
  session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, Buffer.from(reason));
  session.destroy(new Error(reason), constants.NGHTTP2_ENHANCE_YOUR_CALM);
}

/** Asks the client to go elsewhere; calls that are on their way are served. */
export function notify(session: ServerHttp2Session): void {
  // One that its client has just broken off would throw.
  if (!session.destroyed) session.goaway(constants.NGHTTP2_NO_ERROR, refusesNothing);
}

function later(act: () => void, ms: number): NodeJS.Timeout {
  return setTimeout(act, ms).unref();
}

/** Answers whether one more is within `burst` at once and `perSecond` for long. */
function createBudget(burst: number, perSecond: number): () => boolean {
  let left = burst;
  let lookedMs = performance.now();
  return () => {
    const nowMs = performance.now();
    left = Math.min(burst, left + ((nowMs - lookedMs) / 1000) * perSecond) - 1;
    lookedMs = nowMs;
    return left >= 0;
  };
}
