/** What a connection is told that gets no further: in the protocol that it speaks, as far as that is known. */
import { constants } from "node:http2";
import type { Socket } from "node:net";

export function refuseTlsMissing(socket: Socket): void {
  endWith(socket, "400 Bad Request", "this port speaks TLS: use https://");
}

/** For what Node could not make a request of. */
export function refuseHead(socket: Socket, error: Error): void {
  const [status, text] = heads[(error as NodeJS.ErrnoException).code ?? ""] ?? [
    "400 Bad Request",
    "this is no HTTP/1.1 request",
  ];
  // To a HEAD the text would be the next answer.
  const isHead = (error as { rawPacket?: Buffer }).rawPacket?.toString("latin1", 0, 5) === "HEAD ";
  endWith(socket, status, isHead ? "" : text);
}

const heads: Readonly<Record<string, readonly [status: string, text: string]>> = {
  HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "the head of a request may have 16 KiB"],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ["413 Content Too Large", "chunk extensions: too long"],
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "the head of the request did not arrive in time"],
};

const tooMany = "too many connections; try again later, or another instance";

export function refuseTooMany(socket: Socket, protocol: "tls" | "http2" | "http1"): void {
  if (protocol === "tls") {
    // A handshake would cost more than all else: the alert internal_error, in its place (RFC 8446, 6.2).
    socket.end(Buffer.of(21, 3, 3, 0, 2, 2, 80));
  } else if (protocol === "http2") {
    const text = Buffer.from(tooMany);
    const goaway = Buffer.alloc(17);
    goaway.writeUIntBE(8 + text.length, 0, 3);
    goaway.writeUInt8(7, 3);
    // The last stream is 0: nothing was begun, so that all may be tried again.
    goaway.writeUInt32BE(constants.NGHTTP2_ENHANCE_YOUR_CALM, 13);
    const emptySettings = Buffer.of(0, 0, 0, 4, 0, 0, 0, 0, 0);
    socket.end(Buffer.concat([emptySettings, goaway, text]));
  } else endWith(socket, "503 Service Unavailable", tooMany, "retry-after: 5\r\n");
}

function endWith(socket: Socket, status: string, text: string, headers = ""): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = text === "" ? "" : `${text}\n`;
  socket.end(
    `HTTP/1.1 ${status}\r\n${headers}connection: close\r\ncontent-type: text/plain\r\nx-content-type-options: nosniff\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
}
