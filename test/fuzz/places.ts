/** The ids that inputs are about: fixed, so that the same seed makes the same input. `world.ts` makes what they name. */
const id = (kind: string, number: number) => `f0220000-${kind}-7000-8000-${String(number).padStart(12, "0")}`;
const some = (kind: string, count: number) => Array.from({ length: count }, (_, i) => id(kind, i));

/** Open for the whole run: nothing that closes or deletes is about them. */
export const open = some("0001", 4);
/** Ended before the run. */
export const ended = some("0002", 2);
/** Made, closed and deleted by inputs. */
export const doomed = some("0003", 12);
/** Of the tenant whose tables must not change. */
export const foreign = some("0004", 2);
/** Nobody's. */
export const unknown = some("0005", 2);

/** Put in by `world.ts`, since the server alone makes these ids: the seed says which one an input names, not its text. */
export const sessions = some("0006", 12);
export const foreignSession = id("0007", 0);
/** Tenants that the admin key's inputs are about; the others stay as they are. */
export const tenants = ["fuzzed-1", "fuzzed-2", "fuzzed-3"] as const;
export const spaces = ["default", "fuzzed-a", "fuzzed-b", "fuzzed-c"] as const;
export const tasks = ["t", "t2", "task ü", "🎈"] as const;
/** Keys that may be revoked; as `sessions`. */
export const apiKeys = some("0008", 5);
export const variables = ["n", "count", "läuft", "a.b", "toString", "__proto__"] as const;
