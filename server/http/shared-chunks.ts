/**
 * The body of a response over HTTP/1.1 in chunks (RFC 9112, 7.1) that are framed here, once for all readers of the same bytes.
 * Node frames anew what each response writes, and sends it in four pieces. Everything else stays the response's: its head, its
 * queue, its errors, and the connection after it.
 */

/** Ends the body; without it, it was cut. */
export const lastChunk: Uint8Array = Buffer.from("0\r\n\r\n");

/**
 * Asked between `writeHead` and the first byte. True: from now on the response takes chunks and nothing else, and at its end
 * `lastChunk`. False: its body has none (HTTP/2, HTTP/1.0, HEAD), and takes the bytes as they are.
 */
export function takeOverChunks(response: object): boolean {
  if (!("chunkedEncoding" in response) || response.chunkedEncoding !== true) return false;
  response.chunkedEncoding = false;
  return true;
}

/** Of no bytes there is none: it would be the last. */
export function toChunk(bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.byteLength.toString(16)}\r\n`), bytes, lineEnd]);
}

const lineEnd = Buffer.from("\r\n");
