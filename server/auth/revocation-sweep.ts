/**
 * Ends open calls whose key was revoked or whose tenant was disabled, wherever that was done: one query each 10 s for all
 * owners of open calls. The contract allows 60 s.
 */
import type { Clock } from "../core/clock.ts";
import type { OpenCalls } from "../core/open-call.ts";
import type { CredentialStore } from "./credential-store.ts";

export const sweepIntervalMs = 10_000;

export interface RevocationSweepDeps {
  readonly store: Pick<CredentialStore, "findRevoked">;
  readonly calls: OpenCalls;
  readonly clock: Clock;
  readonly onFailure: (message: string, error: Error) => void;
}

/** Starts the sweep; the returned functions run it at once and stop it. */
export function startRevocationSweep(deps: RevocationSweepDeps): { now(): Promise<void>; stop(): void } {
  let cancel = () => {};
  let stopped = false;
  const sweep = async () => {
    const keys = new Set<string>();
    const tenants = new Set<string>();
    for (const owner of deps.calls.owners()) {
      if (owner.apiKeyId !== undefined) keys.add(owner.apiKeyId);
      if (owner.tenant !== undefined) tenants.add(owner.tenant);
    }
    if (tenants.size === 0) return;
    const revoked = await deps.store.findRevoked([...keys], [...tenants]);
    deps.calls.revoke(
      (owner) =>
        (owner.apiKeyId !== undefined && revoked.apiKeyIds.has(owner.apiKeyId)) ||
        (owner.tenant !== undefined && revoked.tenants.has(owner.tenant)),
    );
  };
  const schedule = () => {
    if (stopped) return;
    cancel = deps.clock.after(sweepIntervalMs, () => {
      sweep()
        .catch((error: Error) => deps.onFailure("looking for revoked keys failed; it goes on", error))
        .finally(schedule);
    });
  };
  schedule();
  return {
    now: sweep,
    stop() {
      stopped = true;
      cancel();
    },
  };
}
