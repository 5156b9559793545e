/**
 * How binary calls begin and end in gRPC, gRPC-Web and Connect. Between that a stream is the same in all: messages in
 * envelopes. What an end says (status, details, metadata) is written by Connect's own functions.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Http2ServerResponse } from "node:http2";
import type { ConnectError } from "@connectrpc/connect";
import {
  codeToHttpStatus,
  parseTimeout as connectTimeout,
  endStreamFlag,
  endStreamToJson,
  errorToJsonBytes,
} from "@connectrpc/connect/protocol-connect";
import {
  grpcStatusOk,
  parseTimeout as grpcTimeout,
  headerGrpcStatus,
  setTrailerStatus,
} from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import { envelope } from "./encoded-events.ts";
import { shortenGrpcMessage } from "./grpc-message.ts";

export interface PlainProtocol {
  /** Of the answer. */
  readonly contentType: string;
  /** Marks an envelope of a request that is no message. */
  readonly endFlag: number | undefined;
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

/** `end`: writes what comes last, after a last message if there is one. */
function enveloped(
  contentType: string,
  endFlag: number | undefined,
  end: (response: Http2ServerResponse, error: ConnectError | undefined, last?: Buffer) => void,
): PlainProtocol {
  const protocol: PlainProtocol = {
    contentType,
    endFlag,
    unwrap: fromEnvelope,
    answer(response, message) {
      begin(response, protocol);
      end(response, undefined, envelope(message));
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

const grpc = enveloped("application/grpc+proto", undefined, (response, error, last) => {
  response.addTrailers(
    error === undefined
      ? { [headerGrpcStatus]: grpcStatusOk }
      : shortenGrpcMessage(Object.fromEntries(toTrailers(error))),
  );
  if (last === undefined) response.end();
  else response.end(last);
});

/** The last envelope, with the last message if there is one. */
function endWith(response: Http2ServerResponse, last: Buffer | undefined, end: Buffer): void {
  response.end(last === undefined ? end : Buffer.concat([last, end]));
}

const webEnd = envelope(trailerSerialize(toTrailers(undefined)), trailerFlag);
const grpcWeb = enveloped("application/grpc-web+proto", trailerFlag, (response, error, last) => {
  endWith(
    response,
    last,
    error === undefined ? webEnd : envelope(trailerSerialize(toTrailers(error)), trailerFlag),
  );
});

const connectStream = enveloped("application/connect+proto", endStreamFlag, (response, error, last) => {
  const text = JSON.stringify(endStreamToJson(new Headers(), error, undefined));
  endWith(response, last, envelope(Buffer.from(text), endStreamFlag));
});

const connectUnary: PlainProtocol = {
  contentType: "application/proto",
  endFlag: undefined,
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

/** undefined: a call that is not of the plain kind: JSON, with compression, or a mistake. */
export function plainProtocolOf(
  headers: IncomingHttpHeaders,
  httpVersionMajor: number,
  isUnary: boolean,
): PlainProtocol | undefined {
  const protocol = (isUnary ? ofUnary : ofStreams).get(headers["content-type"] ?? "");
  if (protocol === grpc && httpVersionMajor < 2) return undefined; // no trailers
  for (const name of encodings) {
    const encoding = headers[name];
    if (encoding !== undefined && encoding !== "identity") return undefined;
  }
  if ((headers["connect-protocol-version"] ?? "1") !== "1") return undefined;
  return protocol;
}

/** How long the client waits, ms; undefined: it does not say. "odd": Connect has something to say about it. */
export function deadlineOf(
  headers: IncomingHttpHeaders,
  protocol: PlainProtocol,
): number | undefined | "odd" {
  const isConnect = protocol === connectStream || protocol === connectUnary;
  const given = headers[isConnect ? "connect-timeout-ms" : "grpc-timeout"];
  if (given === undefined) return undefined;
  if (typeof given !== "string") return "odd";
  const { timeoutMs, error } = (isConnect ? connectTimeout : grpcTimeout)(given, Number.MAX_SAFE_INTEGER);
  return error === undefined ? timeoutMs : "odd";
}
