/** What can be called: every RPC that this server serves, in every protocol and codec that it speaks. */
import type { DescMethod } from "@bufbuild/protobuf";
import { services } from "../../server/rpc/services.ts";

export interface RpcTarget {
  /** As "WorkflowService.GetWorkflow"; of what is not this project's own, as "grpc.health.v1.Health.Check". */
  readonly name: string;
  readonly path: string;
  readonly method: DescMethod;
}

export const rpcTargets: readonly RpcTarget[] = services.flatMap((service) =>
  service.methods.map((method) => ({
    name: `${service.typeName.replace(/^tributary\.v1\./, "")}.${method.name}`,
    path: `/${service.typeName}/${method.name}`,
    method,
  })),
);

export interface Wire {
  readonly protocol: "connect" | "grpc" | "grpc-web";
  readonly http: "1.1" | "2";
  readonly codec: "proto" | "json";
}

/** gRPC needs HTTP/2. */
export const wires: readonly Wire[] = (["connect", "grpc", "grpc-web"] as const).flatMap((protocol) =>
  (["1.1", "2"] as const)
    .filter((http) => http === "2" || protocol !== "grpc")
    .flatMap((http) => (["proto", "json"] as const).map((codec) => ({ protocol, http, codec }))),
);

export const isUnary = ({ methodKind }: DescMethod): boolean => methodKind === "unary";
export const takesOne = ({ methodKind }: DescMethod): boolean =>
  methodKind === "unary" || methodKind === "server_streaming";
export const givesMany = ({ methodKind }: DescMethod): boolean =>
  methodKind === "server_streaming" || methodKind === "bidi_streaming";

/** Does a call of this kind go in envelopes? */
export const isEnveloped = (method: DescMethod, { protocol }: Wire): boolean =>
  protocol !== "connect" || !isUnary(method);

export function contentTypeOf(method: DescMethod, { protocol, codec }: Wire): string {
  if (protocol !== "connect") return `application/${protocol}+${codec}`;
  return isUnary(method) ? `application/${codec}` : `application/connect+${codec}`;
}

/** Streams that end when their request has ended and all of it is answered. */
const ending = new Set(["ServerReflectionInfo", "PublishTaskStream", "ObserveStream"]);
const finite = new Set(
  rpcTargets.filter(({ method }) => !givesMany(method) || ending.has(method.name)).map(({ path }) => path),
);

/** May an answer to a complete request at this path go on for ever? */
export const mayGoOn = (path: string): boolean => !finite.has(path.split("?")[0] ?? "");
