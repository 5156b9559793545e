/** What surrounds every RPC: access is checked first, then errors are mapped around (validation.ts) the message. */
import type { HandlerContext, Interceptor } from "@connectrpc/connect";
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

/**
 * Checks the credential when the headers are there, before any of the body is read, unpacked or parsed: who has no
 * credential costs no memory.
 */
export function accessGate(
  authenticator: Authenticator,
  logBug: LogBug,
): (context: HandlerContext) => Promise<void> {
  return async (context) => {
    try {
      const { service, method } = context;
      const rule = ruleOf(service.typeName, method.name);
      if (rule === undefined) throw new Error(`no access rule for ${service.typeName}/${method.name}`);
      if (rule === "anyone") return;
      const principal = await authenticator.authenticate(context.requestHeader.get("authorization"));
      context.values.set(principalKey, principal);
      assertAllowed(rule, principal);
    } catch (error) {
      throw toConnectError(error, logBug);
    }
  };
}
