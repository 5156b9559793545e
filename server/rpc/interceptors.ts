/** What surrounds every RPC: access is checked first, then errors are mapped around (validation.ts) the message. */
import type { DescMethod } from "@bufbuild/protobuf";
import type { HandlerContext, Interceptor } from "@connectrpc/connect";
import { assertAllowed, ruleOf } from "../auth/access-rules.ts";
import type { Authenticator } from "../auth/authenticator.ts";
import { type Principal, toCaller } from "../auth/principal.ts";
import { notesKey, principalKey } from "./context.ts";
import { type LogBug, toConnectError } from "./error-mapping.ts";

/** Maps what is thrown before a response begins; streaming handlers map what they throw later themselves. */
export function errorInterceptor(logBug: LogBug): Interceptor {
  return (next) => async (request) => {
    const notes = request.contextValues.get(notesKey);
    if (notes !== undefined) notes.entered = true;
    try {
      if (notes === undefined) return await next(request);
      const response = await next(
        request.stream
          ? { ...request, message: counted(request.message, (count) => (notes.messagesIn = count)) }
          : request,
      );
      return response.stream
        ? { ...response, message: counted(response.message, (count) => (notes.messagesOut = count)) }
        : response;
    } catch (error) {
      throw toConnectError(error, logBug, notes);
    }
  };
}

/**
 * The same messages, counted as they are asked for: who asks again has dealt with the last one. Not a generator around them, which
 * would cost each message of each reader promises of its own.
 */
function counted<T>(messages: AsyncIterable<T>, tell: (count: number) => void): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = messages[Symbol.asyncIterator]();
      let asked = 0;
      const own: AsyncIterator<T> = {
        next() {
          tell(asked++);
          return iterator.next();
        },
      };
      const { return: leave, throw: fail } = iterator;
      if (leave !== undefined) {
        own.return = (value) => {
          tell(asked); // it left with what it got last
          return leave.call(iterator, value);
        };
      }
      if (fail !== undefined) own.throw = (error) => fail.call(iterator, error);
      return own;
    },
  };
}

/** What the gate sees of a call. */
export interface AtGate extends Pick<HandlerContext, "method" | "values"> {
  readonly requestHeader: Pick<Headers, "get" | "has">;
}

export type Gate = (context: AtGate) => Promise<void>;

/**
 * Checks the credential when the headers are there, before any of the body is read, unpacked or parsed: who has no
 * credential costs no memory.
 */
export function accessGate(authenticator: Authenticator, logBug: LogBug): Gate {
  return async (context) => {
    const notes = context.values.get(notesKey);
    try {
      const authorization = context.requestHeader.get("authorization");
      await authorize(authenticator, context.method, authorization, (principal) => {
        context.values.set(principalKey, principal);
        if (notes !== undefined) notes.caller = toCaller(principal);
      });
    } catch (error) {
      throw toConnectError(error, logBug, notes);
    }
  };
}

/** Who calls, if the method's rule allows it; undefined if anyone may. `learn` hears of the caller also if it is refused. */
async function authorize(
  authenticator: Authenticator,
  { name, parent }: DescMethod,
  authorization: string | null,
  learn: (principal: Principal) => void,
): Promise<Principal | undefined> {
  const rule = ruleOf(parent.typeName, name);
  if (rule === undefined) throw new Error(`no access rule for ${parent.typeName}/${name}`);
  if (rule === "anyone") return undefined;
  const principal = await authenticator.authenticate(authorization);
  learn(principal);
  assertAllowed(rule, principal);
  return principal;
}
