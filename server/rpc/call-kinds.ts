/** What the edge has to know of an RPC before its message is there: how much may come, and who may send it. */
import type { DescService } from "@bufbuild/protobuf";
import type { Rule } from "../auth/access-rules.ts";

export interface CallKind {
  /** Takes exactly one message: it has a time limit. */
  readonly takesOne: boolean;
  /** Gives exactly one. */
  readonly givesOne: boolean;
  /** Needs no credential. */
  readonly isOpen: boolean;
}

export function createCallKinds(
  services: readonly DescService[],
  ruleOf: (service: string, method: string) => Rule | undefined,
): (path: string) => CallKind | undefined {
  const kinds = new Map<string, CallKind>();
  for (const { typeName, methods } of services) {
    for (const { name, methodKind } of methods) {
      kinds.set(`/${typeName}/${name}`, {
        takesOne: methodKind === "unary" || methodKind === "server_streaming",
        givesOne: methodKind === "unary" || methodKind === "client_streaming",
        isOpen: ruleOf(typeName, name) === "anyone",
      });
    }
  }
  return (path) => kinds.get(path);
}
