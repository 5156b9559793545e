/** How RPCs are served: the plain ones directly, all others by Connect, behind the same gate and with the same implementations. */
import type { Http2ServerResponse } from "node:http2";
import type { DescMethod } from "@bufbuild/protobuf";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import type { Authenticator } from "../auth/authenticator.ts";
import { notesOf } from "../http/call-notes.ts";
import { connectCalls } from "../http/connect-calls.ts";
import type { EdgeLimits } from "../http/edge-limits.ts";
import type { Handler } from "../http/port.ts";
import { cutAfter } from "../http/slow-clients.ts";
import { auditRefusals, valuesOf, type WriteAudit } from "../rpc/audit.ts";
import type { createCallKinds } from "../rpc/call-kinds.ts";
import { connectOptions, outerInterceptors } from "../rpc/connect-options.ts";
import { notesKey } from "../rpc/context.ts";
import { createDirectCalls, type DirectCall, type DirectIntake } from "../rpc/direct-calls.ts";
import { directStreams } from "../rpc/direct-streams.ts";
import { withDirectUnary } from "../rpc/direct-unary.ts";
import { accessGate } from "../rpc/interceptors.ts";
import { registerServices, type ServicesDeps } from "../rpc/services.ts";
import { directPublishing } from "../rpc/task-stream-service.ts";

export interface ServeRpcsOptions {
  readonly audit: WriteAudit;
  readonly kindOf: ReturnType<typeof createCallKinds>;
  readonly edge: EdgeLimits;
}

/** `fallback` answers for paths that are no RPC. */
export function serveRpcs(
  deps: ServicesDeps & { readonly authenticator: Authenticator },
  { audit, kindOf, edge }: ServeRpcsOptions,
): (fallback: Handler) => Handler {
  const { authenticator, logBug } = deps;
  const gate = auditRefusals(accessGate(authenticator, logBug), audit);
  const calls: (DirectCall | DirectIntake)[] = [...directStreams(deps), directPublishing(deps)];
  const outer = outerInterceptors(audit, logBug);
  const note = (call: DirectCall) => calls.push(call);
  const limitRest = (response: Http2ServerResponse, { methodKind }: DescMethod) =>
    cutAfter(response, methodKind === "server_streaming" ? edge.streamAnswerMs : edge.answerMs);
  return (fallback) => {
    const connect = connectNodeAdapter({
      ...connectOptions(outer),
      routes: (router) => registerServices(withDirectUnary(router, outer, note), deps),
      fallback: fallback as never,
      contextValues: (request) => valuesOf(request).set(notesKey, notesOf(request)),
      requestGate: gate,
    });
    return createDirectCalls(
      { gate, logBug, notesOf, valuesOf, limitRest },
      calls,
      connectCalls({ kindOf, limits: edge }, connect as Handler),
    );
  };
}
