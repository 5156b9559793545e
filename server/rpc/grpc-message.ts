/**
 * Error texts of gRPC as its specification writes them: in the trailer `grpc-message` printable ASCII stays as it is and only
 * the rest and `%` are percent-encoded (gRPC over HTTP/2, "Status-Message"). Connect encodes as for a URL, colons and
 * commas too, and `@grpc/grpc-js` decodes only what a URL as a whole would have encoded: its users would read
 * "workflow_id%3A must be".
 *
 * And they are cut: an error about JSON quotes what it found, however long, and many clients take no more than 8 KiB of trailers.
 */
import type { OutgoingHttpHeaders } from "node:http";

/** Characters; of those that are encoded each takes up to nine. */
const longest = 1024;

/** Trailers as Connect makes them, with the text in its shortest form. */
export function shortenGrpcMessage(trailers: OutgoingHttpHeaders): OutgoingHttpHeaders {
  const message = trailers["grpc-message"];
  return typeof message === "string"
    ? { ...trailers, "grpc-message": encode(decodeURIComponent(message).slice(0, longest).toWellFormed()) }
    : trailers;
}

const encode = (text: string): string =>
  text.replaceAll(/[^\x20-\x24\x26-\x7e]+/gu, (rest) =>
    Array.from(Buffer.from(rest), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
