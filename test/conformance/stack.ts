/**
 * The drill service behind the server's own way to the network. Shared with production, by import: the port that splits
 * HTTP/1.1 from HTTP/2, the handler with its origin check and its 404, the error mapping, the validation, the
 * authenticator, the limits, the options of the adapter. Its own is the gate, without the access rules, which know the product's
 * methods only.
 */
import { type ConnectRouter, createContextKey, type HandlerContext } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { Authenticator } from "../../server/auth/authenticator.ts";
import type { Principal } from "../../server/auth/principal.ts";
import { StreamTokens } from "../../server/auth/stream-token.ts";
import { systemClock } from "../../server/core/clock.ts";
import { connectCalls } from "../../server/http/connect-calls.ts";
import { createHandler, type HandlerDeps } from "../../server/http/handler.ts";
import { createOriginCheck } from "../../server/http/origin.ts";
import { type Handler, openPort, type Port } from "../../server/http/port.ts";
import { valuesOf } from "../../server/rpc/audit.ts";
import { createCallKinds } from "../../server/rpc/call-kinds.ts";
import { connectOptions, outerInterceptors } from "../../server/rpc/connect-options.ts";
import { toConnectError } from "../../server/rpc/error-mapping.ts";
import { createFindMistake } from "../../server/rpc/misaddressed.ts";
import { noAudit as audit } from "../support/server.ts";
import { until } from "../support/until.ts";
import { Drill, type Watched } from "./drill.ts";
import { DrillService } from "./schema.ts";

export const credential = "the-credential-of-the-drill";
export const authorization = `Bearer ${credential}`;

export interface Stack {
  readonly url: string;
  readonly port: Port;
  /** Handlers at work. */
  readonly running: number;
  /** Ids of bugs that were logged. */
  readonly bugs: readonly string[];
  /** The handler that an order named; fails while it has not begun. */
  watched(call: string): Watched;
  /** Whether a handler has begun on an order of that name. */
  hasBegun(call: string): boolean;
}

/** Starts a stack for a test file. After each test nothing may be left at work. */
export function useStack(): Stack {
  const bugs: string[] = [];
  const logBug = (errorId: string) => bugs.push(errorId);
  const drill = new Drill(logBug);
  let port: Port;

  beforeAll(async () => {
    const gate = createGate(logBug);
    const kindOf = createCallKinds([DrillService], () => undefined);
    const handler = createHandler({
      observer: undefined,
      originCheck: createOriginCheck({ developmentMode: false, origins: [] }),
      readiness: { notReady: async () => undefined, degraded: () => undefined },
      sse: { logBug } as unknown as HandlerDeps["sse"], // no test here asks for an event stream
      metrics: { contentType: "text/plain", text: async () => "" },
      console: { owns: () => false, serve: async () => false },
      consoleSession: undefined,
      findMistake: createFindMistake([DrillService]),
      kindOf,
      rpc: (fallback: Handler) =>
        connectCalls(
          { kindOf },
          connectNodeAdapter({
            ...connectOptions(outerInterceptors(audit, logBug)),
            routes: (router: ConnectRouter) => drill.routes(router),
            fallback: fallback as never,
            contextValues: valuesOf,
            requestGate: gate,
          }) as Handler,
        ),
    });
    port = await openPort({ host: "127.0.0.1", port: 0, tls: undefined }, handler);
  });
  afterEach(() => until(() => expect(drill.running, "handlers at work after the test").toBe(0)));
  afterAll(() => port?.close(1000));

  return {
    get url() {
      return `http://127.0.0.1:${port.address.port}`;
    },
    get port() {
      return port;
    },
    get running() {
      return drill.running;
    },
    bugs,
    hasBegun: (call) => drill.watched.has(call),
    watched(call) {
      const watched = drill.watched.get(call);
      if (watched === undefined) throw new Error(`no handler has begun on ${call}`);
      return watched;
    },
  };
}

const drillPrincipal = createContextKey<Principal | undefined>(undefined);

function createGate(logBug: (errorId: string) => void) {
  const nothing = async () => undefined;
  const store = {
    findKeyByHash: nothing,
    findRevoked: async () => ({ apiKeyIds: new Set<string>(), tenants: new Set<string>() }),
  };
  const noKeys = { newest: () => Promise.reject(new Error("there is no signing key")), find: nothing };
  const authenticator = new Authenticator(
    { store, tokens: new StreamTokens(noKeys), clock: systemClock },
    { adminKey: credential, devKey: undefined },
  );
  return async (context: HandlerContext) => {
    try {
      const principal = await authenticator.authenticate(context.requestHeader.get("authorization"));
      context.values.set(drillPrincipal, principal);
    } catch (error) {
      throw toConnectError(error, logBug);
    }
  };
}
