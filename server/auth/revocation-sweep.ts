/**
 * Ends open calls whose key was revoked, whose tenant was disabled or whose token's signing key was retired, wherever that was
 * done: two or three queries each 10 s for all owners of open calls. The contract allows 60 s.
 */
import type { Clock } from "../core/clock.ts";
import type { OpenCalls } from "../core/open-call.ts";
import type { CredentialStore } from "./credential-store.ts";
import type { SigningKeys } from "./signing-keys.ts";

export const sweepIntervalMs = 10_000;

export interface RevocationSweepDeps {
  readonly store: Pick<CredentialStore, "findRevoked">;
  readonly signingKeys: Pick<SigningKeys, "findRetired">;
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
    const signingKeys = new Set<string>();
    for (const owner of deps.calls.owners()) {
      if (owner.apiKeyId !== undefined) keys.add(owner.apiKeyId);
      if (owner.tenant !== undefined) tenants.add(owner.tenant);
      if (owner.signingKeyId !== undefined) signingKeys.add(owner.signingKeyId);
    }
    if (tenants.size === 0) return;
    const [revoked, retired] = await Promise.all([
      deps.store.findRevoked([...keys], [...tenants]),
      deps.signingKeys.findRetired(signingKeys),
    ]);
    deps.calls.revoke(
      (owner) =>
        (owner.apiKeyId !== undefined && revoked.apiKeyIds.has(owner.apiKeyId)) ||
        (owner.tenant !== undefined && revoked.tenants.has(owner.tenant)) ||
        (owner.signingKeyId !== undefined && retired.has(owner.signingKeyId)),
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
