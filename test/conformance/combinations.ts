/** Every way to call: protocol × HTTP version × codec × compression of what is sent, each with a client of its own. */
import { Agent } from "node:http";
import { type Client, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { isFull, someOf } from "../support/random.ts";
import { DrillService } from "./schema.ts";
import { authorization, type Stack } from "./stack.ts";

export interface Combination {
  readonly name: string;
  readonly protocol: "connect" | "grpc" | "grpc-web";
  readonly http: "1.1" | "2";
  readonly codec: "proto" | "json";
  readonly compression: "identity" | "gzip";
  /** Connect only: calls without side effects go by GET. */
  readonly useGet?: boolean;
}

/** gRPC needs HTTP/2. */
export const combinations: readonly Combination[] = (["connect", "grpc", "grpc-web"] as const).flatMap(
  (protocol) =>
    (["1.1", "2"] as const)
      .filter((http) => http === "2" || protocol !== "grpc")
      .flatMap((http) =>
        (["proto", "json"] as const).flatMap((codec) =>
          (["identity", "gzip"] as const).map((compression) => ({
            name: `${protocol}, HTTP/${http}, ${codec}, ${compression}`,
            protocol,
            http,
            codec,
            compression,
          })),
        ),
      ),
);

/** One for each protocol and HTTP version, for what codec and compression do not change. */
export const wires = combinations.filter(
  ({ codec, compression }) => codec === "proto" && compression === "identity",
);

/** For what takes long: of each protocol and HTTP version one way in binary, and two in JSON. All of them in the full run. */
export const sample: readonly Combination[] = isFull
  ? combinations
  : [
      ...wires.flatMap(({ protocol, http }) =>
        someOf(
          combinations.filter(
            (each) => each.protocol === protocol && each.http === http && each.codec === "proto",
          ),
          1,
        ),
      ),
      ...someOf(
        combinations.filter(({ codec }) => codec === "json"),
        2,
      ),
    ];

export interface Caller extends Combination {
  readonly client: Client<typeof DrillService>;
  /** HTTP/1.1 has no streams in both directions. */
  readonly isDuplex: boolean;
}

export function createCaller(stack: Stack, combination: Combination): Caller {
  let client: Client<typeof DrillService> | undefined;
  return {
    ...combination,
    isDuplex: combination.http === "2",
    // Not before the first call: the stack's port is not known when tests are collected.
    get client() {
      client ??= createClient(DrillService, createTransport(stack.url, combination));
      return client;
    },
  };
}

/** Asks for a call without the credential. */
export const anonymous = { headers: { "x-drill-anonymous": "yes" } };

const authorize: Interceptor = (next) => (request) => {
  if (!request.header.has("x-drill-anonymous")) request.header.set("authorization", authorization);
  return next(request);
};

function createTransport(
  baseUrl: string,
  { protocol, http, codec, compression, useGet }: Combination,
): Transport {
  const isGzip = compression === "gzip";
  const options = {
    baseUrl,
    useBinaryFormat: codec === "proto",
    interceptors: [authorize],
    acceptCompression: isGzip ? [compressionGzip] : [],
    compressMinBytes: 0,
    useHttpGet: useGet ?? false,
    ...(isGzip ? { sendCompression: compressionGzip } : {}),
  };
  if (protocol === "grpc") return createGrpcTransport(options);
  // Of its own: Node's global one would carry what one test did to a connection into the next.
  const agent = new Agent({ keepAlive: true });
  const create = protocol === "connect" ? createConnectTransport : createGrpcWebTransport;
  return create(
    http === "2"
      ? { ...options, httpVersion: "2" }
      : { ...options, httpVersion: "1.1", nodeOptions: { agent } },
  );
}
