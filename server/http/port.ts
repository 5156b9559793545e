/**
 * One port for HTTP/1.1 and HTTP/2. Without TLS the first bytes of a connection tell which. They are put back and the
 * socket is handed to a plain Node server, so both run at full speed (a library that does the same wraps the socket in
 * JavaScript, which cost four fifths of the throughput of small messages). With TLS the client chooses by ALPN.
 */
import { once } from "node:events";
import { createServer as createHttp1Server, type RequestListener } from "node:http";
import {
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { type EdgeLimits, edgeLimits } from "./edge-limits.ts";
import { guardSession, notify } from "./http2-guard.ts";
import { refuseHead, refuseTlsMissing, refuseTooMany } from "./refusals.ts";
import { openTls, type TlsOptions } from "./tls.ts";

export type Handler = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

/** First byte of every TLS connection: a record of the type handshake (RFC 8446, 5.1). */
const tlsHandshake = 22;
/** The log hears of refused connections at most so often, ms. */
const fullNoticeMs = 60_000;

export interface Port {
  readonly address: AddressInfo;
  /** Resolves when no connection is left, or at the signal. */
  idle(signal: AbortSignal): Promise<void>;
  /** Stops listening and asks clients to go elsewhere; calls under way, and new ones on old connections, go on. */
  stopListening(): void;
  /** New calls are refused; those under way go on. */
  refuseNew(): void;
  /** Lets answers that are on their way go out, at most for `graceMs`, then ends what is left. */
  close(graceMs: number): Promise<void>;
}

export interface PortOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Absent: no TLS. */
  readonly tls: Omit<TlsOptions, "handshakeTimeoutMs"> | undefined;
  /** Connections at once; those beyond are refused. */
  readonly maxConnections?: number;
  /** Hears, now and then, that connections are refused. */
  readonly onFull?: () => void;
  readonly limits?: EdgeLimits;
}

export async function openPort(options: PortOptions, handler: Handler): Promise<Port> {
  const { maxConnections = Number.POSITIVE_INFINITY, onFull = () => {}, limits = edgeLimits } = options;
  const tls = options.tls && openTls({ ...options.tls, handshakeTimeoutMs: limits.firstBytesMs });
  const sockets = new Set<Socket>();
  const refused = new Set<Socket>();
  let fullSaidMs = Number.NEGATIVE_INFINITY;
  const sessions = new Set<ServerHttp2Session>();
  const answering = new Set<Http2ServerResponse>();
  let leaving = false;
  let onLastClosed = () => {};
  const handle: Handler = (request, response) => {
    answering.add(response);
    response.on("close", () => answering.delete(response));
    handler(request, response);
  };

  const http1 = createHttp1Server(
    {
      // Streams may last: the limit on bodies is that of the call, see request-body.ts.
      requestTimeout: 0,
      headersTimeout: limits.firstBytesMs,
      // Node looks only so often, by its own default each half minute.
      connectionsCheckingInterval: limits.firstBytesMs / 4,
      keepAliveTimeout: limits.idleHttp1Ms,
      maxHeaderSize: limits.headBytes,
      // Answered by the handler, with words.
      requireHostHeader: false,
    },
    ((request, response) => {
      if (leaving) response.setHeader("connection", "close");
      handle(request as unknown as Http2ServerRequest, response as unknown as Http2ServerResponse);
    }) as RequestListener,
  );
  // Node leaves out the fields beyond its limit; the handler refuses instead.
  http1.maxHeadersCount = 0;
  http1.on("clientError", (error, socket) => {
    // In the middle of an answer a second one would be read as part of it.
    if ([...answering].some((response) => (response.socket as unknown) === socket)) socket.destroy();
    else refuseHead(socket as Socket, error);
  });
  const http2 = createHttp2Server(
    {
      settings: {
        maxConcurrentStreams: limits.streams,
        initialWindowSize: limits.windowStreamBytes,
        maxHeaderListSize: limits.headBytes,
        maxFrameSize: limits.frameBytes,
        // Nothing is pushed, and CONNECT is not served.
        enablePush: false,
        enableConnectProtocol: false,
      },
      maxSessionMemory: limits.sessionMb,
      maxHeaderListPairs: limits.headFields,
      maxSettings: limits.settingsEntries,
      maxSessionRejectedStreams: limits.rejectedStreams,
      maxSessionInvalidFrames: limits.invalidFrames,
      streamResetBurst: limits.resetBurst,
      streamResetRate: limits.resetPerSecond,
    },
    handle,
  );
  http2.on("session", (session) => {
    session.setLocalWindowSize(limits.windowConnectionBytes);
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => session.destroy());
    guardSession(session, limits);
  });

  tls?.server.on("secureConnection", (socket) => {
    socket.on("error", () => socket.destroy());
    (socket.alpnProtocol === "h2" ? http2 : http1).emit("connection", socket);
  });
  // Scanners and clients that do not trust the certificate: nothing to do about them here.
  tls?.server.on("tlsClientError", (_, socket) => socket.destroy());

  const refuse = () => {
    if (performance.now() - fullSaidMs < fullNoticeMs) return;
    fullSaidMs = performance.now();
    onFull();
  };
  const tcp = createTcpServer({ noDelay: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    const isTooMany = sockets.size >= maxConnections;
    if (isTooMany) refuse();
    if (isTooMany && refused.size >= limits.refusals) {
      socket.destroy();
      return;
    }
    const known = isTooMany ? refused : sockets;
    known.add(socket);
    socket.on("close", () => {
      known.delete(socket);
      if (sockets.size === 0) onLastClosed();
    });
    const timer = setTimeout(() => socket.destroy(), isTooMany ? limits.refusalMs : limits.firstBytesMs);
    socket.on("close", () => clearTimeout(timer));
    // Kept here while undecided: put back at once, they would make the socket readable again, without end.
    let head: Buffer = Buffer.alloc(0);
    const decide = () => {
      const bytes = socket.read() as Buffer | null;
      if (bytes === null) return;
      head = Buffer.concat([head, bytes]);
      // No method of HTTP/1.1 begins like HTTP/2's preface; three bytes tell.
      if (tls === undefined && head.length < 3 && "PRI".startsWith(head.toString("latin1"))) return;
      socket.off("readable", decide);
      const isHttp2 = head.toString("latin1", 0, 3) === "PRI";
      const isPlain = tls !== undefined && head[0] !== tlsHandshake;
      if (isTooMany || isPlain) {
        // The timer goes on; what else arrives is thrown away, since unread bytes would take the answer with them.
        socket.resume();
        if (isPlain) refuseTlsMissing(socket);
        else refuseTooMany(socket, tls !== undefined ? "tls" : isHttp2 ? "http2" : "http1");
        return;
      }
      clearTimeout(timer);
      socket.unshift(head);
      const server = tls?.server ?? (isHttp2 ? http2 : http1);
      server.emit("connection", socket);
    };
    socket.on("readable", decide);
  });

  await new Promise<void>((resolve, reject) => {
    tcp.once("error", reject);
    tcp.listen(options.port, options.host, () => {
      tcp.off("error", reject);
      resolve();
    });
  });

  // A server that is given its sockets never listens itself, and would not begin to check its headersTimeout.
  http1.emit("listening");
  return {
    address: tcp.address() as AddressInfo,
    async idle(signal) {
      if (sockets.size === 0) return;
      await new Promise<void>((resolve) => {
        onLastClosed = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    },
    stopListening() {
      leaving = true;
      tcp.close();
      for (const session of sessions) notify(session);
    },
    refuseNew() {
      for (const session of sessions) session.close();
    },
    async close(graceMs) {
      const signal = AbortSignal.timeout(graceMs);
      const closed = (emitter: Http2ServerResponse | ServerHttp2Session) =>
        once(emitter, "close", { signal }).catch(() => {}); // at the signal what is left is ended below
      await Promise.all([...answering].map(closed));
      for (const session of sessions) session.close();
      await Promise.all([...sessions].map(closed));
      http1.close();
      tls?.close();
      for (const session of sessions) session.destroy();
      for (const socket of [...sockets, ...refused]) socket.destroy();
    },
  };
}
