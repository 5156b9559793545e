/**
 * How the binary answers of a server stream begin and end in gRPC, gRPC-Web and Connect. Between that they are the same:
 * messages in envelopes. What an end says (status, details, metadata) is written by Connect's own functions.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Http2ServerResponse } from "node:http2";
import type { ConnectError } from "@connectrpc/connect";
import { endStreamFlag, endStreamToJson } from "@connectrpc/connect/protocol-connect";
import { grpcStatusOk, headerGrpcStatus, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import { envelope } from "./encoded-events.ts";

export interface StreamProtocol {
  /** Of the answer. */
  readonly contentType: string;
  /** Says how the call ended, after all messages. The headers have been sent. */
  end(response: Http2ServerResponse, error: ConnectError | undefined): void;
}

function toTrailers(error: ConnectError | undefined): Headers {
  const trailers = new Headers({ [headerGrpcStatus]: grpcStatusOk });
  return error === undefined ? trailers : setTrailerStatus(trailers, error);
}

const grpc: StreamProtocol = {
  contentType: "application/grpc+proto",
  end(response, error) {
    response.addTrailers(Object.fromEntries(toTrailers(error)));
    response.end();
  },
};

const grpcWeb: StreamProtocol = {
  contentType: "application/grpc-web+proto",
  end(response, error) {
    response.end(envelope(trailerSerialize(toTrailers(error)), trailerFlag));
  },
};

const connect: StreamProtocol = {
  contentType: "application/connect+proto",
  end(response, error) {
    const text = JSON.stringify(endStreamToJson(new Headers(), error, undefined));
    response.end(envelope(Buffer.from(text), endStreamFlag));
  },
};

const byContentType = new Map<string, StreamProtocol>([
  ["application/grpc", grpc],
  ["application/grpc+proto", grpc],
  ["application/grpc-web", grpcWeb],
  ["application/grpc-web+proto", grpcWeb],
  ["application/connect+proto", connect],
]);

/** Headers by which a call asks for more than messages as they are. */
const special = ["grpc-encoding", "connect-content-encoding", "grpc-timeout", "connect-timeout-ms"];

/** undefined: a call that is not of the plain kind: JSON, with compression, with a deadline, or a mistake. */
export function plainProtocolOf(
  headers: IncomingHttpHeaders,
  httpVersionMajor: number,
): StreamProtocol | undefined {
  const protocol = byContentType.get(headers["content-type"] ?? "");
  if (protocol === grpc && httpVersionMajor < 2) return undefined; // no trailers
  return special.every((name) => headers[name] === undefined || headers[name] === "identity")
    ? protocol
    : undefined;
}
