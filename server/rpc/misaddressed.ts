/**
 * What is wrong with a request to an RPC before Connect looks at it, for those who type requests by hand: Connect answers a
 * wrong verb or content type with a bare status.
 */
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";

export interface Misaddressed {
  readonly status: 405 | 415;
  readonly message: string;
}

export type FindMistake = (
  path: string,
  verb: string | undefined,
  contentType: string | undefined,
) => Misaddressed | undefined;

const unary = /^application\/(json|proto|grpc(-web)?(\+(proto|json))?)$/;
const streaming = /^application\/(connect\+(json|proto)|grpc(-web)?(\+(proto|json))?)$/;

export function createFindMistake(services: readonly DescService[]): FindMistake {
  const methods = new Map<string, DescMethod>();
  for (const service of services) {
    for (const method of service.methods) methods.set(`/${service.typeName}/${method.name}`, method);
  }
  return (path, verb, contentType) => {
    const method = methods.get(path);
    if (method === undefined) return undefined;
    // Connect serves these with GET too, the message in the query.
    if (verb === "GET" && method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS)
      return undefined;
    if (verb !== "POST") return { status: 405, message: `${verb} ${path}: RPCs are called with POST` };
    const isUnary = method.methodKind === "unary";
    const type = (contentType ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
    if ((isUnary ? unary : streaming).test(type)) return undefined;
    const wanted = isUnary
      ? "application/json (or application/proto, or that of gRPC or gRPC-Web)"
      : "application/connect+json with framed messages (or that of gRPC or gRPC-Web); to read a stream with plain curl use the routes of Server-Sent Events, GET /api/tenants/<slug>/stream/workflows/<id>";
    return {
      status: 415,
      message: `content-type: ${type === "" ? "missing" : JSON.stringify(type)}; ${method.name} takes ${wanted}`,
    };
  };
}
