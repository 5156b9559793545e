/** TokenService: stream tokens for browsers and guests. */
import type { ConnectRouter } from "@connectrpc/connect";
import { TokenService } from "../../gen/tributary/v1/token_service_pb.ts";
import type { StreamTokens } from "../auth/stream-token.ts";
import type { Clock } from "../core/clock.ts";
import type { Registry } from "../core/registry.ts";
import { accessOf, principalOf } from "./context.ts";

export interface TokenDeps {
  readonly tokens: StreamTokens;
  readonly registry: Registry;
  readonly clock: Clock;
}

const defaultTtlSeconds = 900;

export function tokenService(router: ConnectRouter, deps: TokenDeps): void {
  router.service(TokenService, {
    async createStreamToken({ workflowIds, ttlSeconds, includeVariables }, context) {
      const principal = principalOf(context);
      const access = accessOf(context);
      const found = await Promise.all(workflowIds.map((id) => deps.registry.require(access, id)));
      const { token, expiresMs } = await deps.tokens.create(
        {
          tenant: access.tenant,
          apiKeyId: principal.kind === "key" ? principal.apiKeyId : undefined,
          subtrees: found.map(({ identity }) => identity.workflowId),
          includeVariables,
        },
        ttlSeconds || defaultTtlSeconds,
        deps.clock.wallNow(),
      );
      return { token, expiresMs: BigInt(expiresMs) };
    },
  });
}
