/** What surrounds every RPC: errors are mapped outermost, then access is checked, then (validation.ts) the message. */
import type { Interceptor } from "@connectrpc/connect";
import { assertAllowed, ruleOf } from "../auth/access-rules.ts";
import type { Authenticator } from "../auth/authenticator.ts";
import { principalKey } from "./context.ts";
import { type LogBug, toConnectError } from "./error-mapping.ts";

/** Maps what is thrown before a response begins; streaming handlers map what they throw later themselves. */
export function errorInterceptor(logBug: LogBug): Interceptor {
  return (next) => async (request) => {
    try {
      return await next(request);
    } catch (error) {
      throw toConnectError(error, logBug);
    }
  };
}

export function accessInterceptor(authenticator: Authenticator): Interceptor {
  return (next) => async (request) => {
    const rule = ruleOf(request.service.typeName, request.method.name);
    if (rule === undefined)
      throw new Error(`no access rule for ${request.service.typeName}/${request.method.name}`);
    if (rule !== "anyone") {
      const principal = await authenticator.authenticate(request.header.get("authorization"));
      assertAllowed(rule, principal);
      request.contextValues.set(principalKey, principal);
    }
    return next(request);
  };
}
