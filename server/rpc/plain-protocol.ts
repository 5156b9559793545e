/**
 * How binary answers begin and end in gRPC, gRPC-Web and Connect. Between that a stream is the same in all: messages in
 * envelopes. What an end says (status, details, metadata) is written by Connect's own functions.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Http2ServerResponse } from "node:http2";
import type { ConnectError } from "@connectrpc/connect";
import {
  codeToHttpStatus,
  endStreamFlag,
  endStreamToJson,
  errorToJsonBytes,
} from "@connectrpc/connect/protocol-connect";
import { grpcStatusOk, headerGrpcStatus, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import { envelope } from "./encoded-events.ts";
import { shortenGrpcMessage } from "./grpc-message.ts";

export interface PlainProtocol {
  /** Of the answer. */
  readonly contentType: string;
  /** The only message of a request; undefined: it is not one plain message. */
  unwrap(body: Buffer): Buffer | undefined;
  /** Answers with one message and ends. */
  answer(response: Http2ServerResponse, message: Uint8Array): void;
  /** Says how the call ended, after all messages of a stream. */
  end(response: Http2ServerResponse, error: ConnectError | undefined): void;
}

/** Sends the headers, if that was not done. */
export function begin(
  response: Http2ServerResponse,
  { contentType }: Pick<PlainProtocol, "contentType">,
): void {
  if (!response.headersSent) response.writeHead(200, { "content-type": contentType });
}

function fromEnvelope(body: Buffer): Buffer | undefined {
  const isOne = body.byteLength >= 5 && body[0] === 0 && body.readUInt32BE(1) === body.byteLength - 5;
  return isOne ? body.subarray(5) : undefined;
}

function enveloped(
  contentType: string,
  end: (response: Http2ServerResponse, error: ConnectError | undefined) => void,
): PlainProtocol {
  const protocol: PlainProtocol = {
    contentType,
    unwrap: fromEnvelope,
    answer(response, message) {
      begin(response, protocol);
      response.write(envelope(message));
      end(response, undefined);
    },
    end(response, error) {
      begin(response, protocol);
      end(response, error);
    },
  };
  return protocol;
}

function toTrailers(error: ConnectError | undefined): Headers {
  const trailers = new Headers({ [headerGrpcStatus]: grpcStatusOk });
  return error === undefined ? trailers : setTrailerStatus(trailers, error);
}

const grpc = enveloped("application/grpc+proto", (response, error) => {
  response.addTrailers(
    error === undefined
      ? { [headerGrpcStatus]: grpcStatusOk }
      : shortenGrpcMessage(Object.fromEntries(toTrailers(error))),
  );
  response.end();
});

const grpcWeb = enveloped("application/grpc-web+proto", (response, error) => {
  response.end(envelope(trailerSerialize(toTrailers(error)), trailerFlag));
});

const connectStream = enveloped("application/connect+proto", (response, error) => {
  const text = JSON.stringify(endStreamToJson(new Headers(), error, undefined));
  response.end(envelope(Buffer.from(text), endStreamFlag));
});

const connectUnary: PlainProtocol = {
  contentType: "application/proto",
  unwrap: (body) => body,
  answer(response, message) {
    response.writeHead(200, {
      "content-type": "application/proto",
      "content-length": String(message.byteLength),
    });
    response.end(message);
  },
  end(response, error) {
    if (error === undefined) throw new Error("a unary call ends with its answer");
    const body = errorToJsonBytes(error, undefined);
    response.writeHead(codeToHttpStatus(error.code), {
      ...Object.fromEntries(error.metadata),
      "content-type": "application/json",
      "content-length": String(body.byteLength),
    });
    response.end(body);
  },
};

const ofGrpc: readonly (readonly [string, PlainProtocol])[] = [
  ["application/grpc", grpc],
  ["application/grpc+proto", grpc],
  ["application/grpc-web", grpcWeb],
  ["application/grpc-web+proto", grpcWeb],
];

const ofStreams = new Map([...ofGrpc, ["application/connect+proto", connectStream]]);
const ofUnary = new Map([...ofGrpc, ["application/proto", connectUnary]]);

const encodings = ["grpc-encoding", "connect-content-encoding", "content-encoding"];
const deadlines: Readonly<Record<string, RegExp>> = {
  "grpc-timeout": /^\d{1,8}[HMSmun]$/,
  "connect-timeout-ms": /^\d{1,10}$/,
};

/**
 * undefined: a call that is not of the plain kind: JSON, with compression, or a mistake; and a stream with a deadline. That of a unary
 * call is the client's to keep.
 */
export function plainProtocolOf(
  headers: IncomingHttpHeaders,
  httpVersionMajor: number,
  isUnary: boolean,
): PlainProtocol | undefined {
  const protocol = (isUnary ? ofUnary : ofStreams).get(headers["content-type"] ?? "");
  if (protocol === grpc && httpVersionMajor < 2) return undefined; // no trailers
  if (encodings.some((name) => headers[name] !== undefined && headers[name] !== "identity")) return undefined;
  for (const [name, pattern] of Object.entries(deadlines)) {
    const given = headers[name];
    if (given !== undefined && !(isUnary && typeof given === "string" && pattern.test(given)))
      return undefined;
  }
  if ((headers["connect-protocol-version"] ?? "1") !== "1") return undefined;
  return protocol;
}
