/** Every protocol and HTTP version that serves server streams, with a credential. */
import type { Interceptor, Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";

export function transportsOf(baseUrl: string, key: string): [name: string, transport: Transport][] {
  const credential: Interceptor = (next) => (request) => {
    request.header.set("authorization", `Bearer ${key}`);
    return next(request);
  };
  const common = { baseUrl, interceptors: [credential] };
  return [
    ["gRPC", createGrpcTransport(common)],
    ["gRPC-Web on HTTP/1.1", createGrpcWebTransport({ ...common, httpVersion: "1.1" })],
    ["gRPC-Web on HTTP/2", createGrpcWebTransport({ ...common, httpVersion: "2" })],
    ["Connect on HTTP/1.1", createConnectTransport({ ...common, httpVersion: "1.1" })],
    ["Connect on HTTP/2", createConnectTransport({ ...common, httpVersion: "2" })],
    ["Connect in JSON", createConnectTransport({ ...common, httpVersion: "1.1", useBinaryFormat: false })],
    ["Connect from a browser", web.createConnectTransport(common)],
    ["gRPC-Web from a browser", web.createGrpcWebTransport(common)],
  ];
}
