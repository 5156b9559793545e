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
import { openTls, type TlsOptions } from "./tls.ts";

export type Handler = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

/** A connection that says nothing for so long, or has not agreed on TLS, is closed, ms. */
const firstBytesTimeoutMs = 10_000;
/** First byte of every TLS connection: a record of the type handshake (RFC 8446, 5.1). */
const tlsHandshake = 22;
/** Streams one HTTP/2 connection may have open. */
const maxStreamsPerConnection = 10_000;
/** Node ends a connection that holds more, MB; its own 10 are too few for forty requests of 1 MiB at once. */
const sessionMemoryMb = 128;
/** Bytes a client may send ahead, for each stream and each connection: a batch of 1 MiB should not wait for a round trip. */
const windowBytes = { stream: 1024 * 1024, connection: 4 * 1024 * 1024 };

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
}

export async function openPort(options: PortOptions, handler: Handler): Promise<Port> {
  const tls = options.tls && openTls({ ...options.tls, handshakeTimeoutMs: firstBytesTimeoutMs });
  const sockets = new Set<Socket>();
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
    // Streams may last: the limits on silence are those of the calls, not of the request.
    { requestTimeout: 0, headersTimeout: firstBytesTimeoutMs, keepAliveTimeout: 65_000 },
    ((request, response) => {
      if (leaving) response.setHeader("connection", "close");
      handle(request as unknown as Http2ServerRequest, response as unknown as Http2ServerResponse);
    }) as RequestListener,
  );
  const http2 = createHttp2Server(
    {
      settings: { maxConcurrentStreams: maxStreamsPerConnection, initialWindowSize: windowBytes.stream },
      maxSessionMemory: sessionMemoryMb,
    },
    handle,
  );
  http2.on("session", (session) => {
    session.setLocalWindowSize(windowBytes.connection);
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    session.on("error", () => session.destroy());
  });
  for (const server of [http1, http2])
    server.on("clientError", (_, socket) => answerBadRequest(socket as Socket));

  tls?.server.on("secureConnection", (socket) => {
    socket.on("error", () => socket.destroy());
    (socket.alpnProtocol === "h2" ? http2 : http1).emit("connection", socket);
  });
  // Scanners and clients that do not trust the certificate: nothing to do about them here.
  tls?.server.on("tlsClientError", (_, socket) => socket.destroy());

  const tcp = createTcpServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => {
      sockets.delete(socket);
      if (sockets.size === 0) onLastClosed();
    });
    socket.on("error", () => socket.destroy());
    const timer = setTimeout(() => socket.destroy(), firstBytesTimeoutMs);
    socket.on("close", () => clearTimeout(timer));
    // Kept here while undecided: put back at once, they would make the socket readable again, without end.
    let head: Buffer = Buffer.alloc(0);
    const decide = () => {
      const bytes = socket.read() as Buffer | null;
      if (bytes === null) return;
      head = Buffer.concat([head, bytes]);
      // No method of HTTP/1.1 begins like HTTP/2's preface; three bytes tell.
      if (tls === undefined && head.length < 3 && "PRI".startsWith(head.toString("latin1"))) return;
      clearTimeout(timer);
      socket.off("readable", decide);
      if (tls !== undefined && head[0] !== tlsHandshake) return answerNeedsTls(socket);
      socket.unshift(head);
      const server = tls?.server ?? (head.toString("latin1", 0, 3) === "PRI" ? http2 : http1);
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
      // The highest stream id: a notice to go elsewhere, that refuses nothing yet (RFC 9113, 6.8).
      // One that its client has just broken off would throw.
      for (const session of sessions) if (!session.destroyed) session.goaway(0, 2 ** 31 - 1);
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
      for (const socket of sockets) socket.destroy();
    },
  };
}

function answerNeedsTls(socket: Socket): void {
  const text = "this port speaks TLS: use https://\n";
  socket.end(
    `HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
  );
}

function answerBadRequest(socket: Socket): void {
  if (socket.writable)
    socket.end("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
  else socket.destroy();
}
