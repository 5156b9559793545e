/**
 * Watches the variables of a workflow: their values at a snapshot, then every change after it, in order, none missed and
 * none twice; what retention took away is declared, and then the values are told anew.
 *
 * A snapshot and the tail of the stream are read in one statement, and readers are cursors: what was committed after the
 * snapshot has a greater offset and comes by following from there, so nothing falls between. A snapshot holds names and
 * offsets; values are read batch by batch, as of the snapshot, so a slow watcher costs little however much there is.
 */
import type { Access, WorkflowIdentity } from "../access.ts";
import { DomainError } from "../errors.ts";
import { EventType, type StoredEvent } from "../event.ts";
import { type FollowMessage, follow } from "../follow.ts";
import { limits } from "../limits.ts";
import type { CallOwner, OpenCall } from "../open-call.ts";
import { storeRetryMs } from "../pace.ts";
import { StoreError } from "../ports.ts";
import { assertFewNames, type SubscribeDeps, type SubscribeOptions, toFollowRequest } from "../subscribe.ts";
import { Wakeup } from "../wakeup.ts";
import { toUpdate, type VariableUpdate } from "./update.ts";
import type { Snapshot, SnapshotEntry, VariableStore } from "./variable.ts";
import { assertMaySee } from "./variables.ts";

export interface WatchDeps extends SubscribeDeps {
  readonly variableStore: Pick<VariableStore, "readSnapshot" | "readAt">;
}

export interface WatchRequest {
  readonly workflowId: string;
  /** Empty: all, also later ones. */
  readonly names: readonly string[];
  readonly includeInitialValues: boolean;
  readonly allowMissing: boolean;
  /** `start` "latest": from now. */
  readonly options: Omit<SubscribeOptions, "types" | "tasks">;
}

export type WatchMessage =
  | Exclude<FollowMessage, { kind: "events" }>
  | { readonly kind: "updates"; readonly updates: readonly VariableUpdate[] }
  | { readonly kind: "snapshot_complete"; readonly offset: number };

/** The first message is `opened`; what is wrong with the request is thrown before it. */
export async function* watchVariables(
  deps: WatchDeps,
  access: Access,
  owner: CallOwner,
  request: WatchRequest,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage> {
  assertMaySee(access);
  const { identity } = await deps.registry.require(access, request.workflowId);
  const call = await deps.calls.openReader(owner);
  try {
    yield* new Watch(deps, access, identity, request, call, signal).run();
  } catch (error) {
    if (error instanceof DomainError && error.code === "not_found" && error.missingVariables === undefined)
      deps.registry.forget(identity.workflowId);
    throw error;
  } finally {
    call.end();
  }
}

/** Names of missing variables in the error's details, bytes: they travel in trailers. */
const missingBytes = 4096;

class Watch {
  readonly #deps: WatchDeps;
  readonly #access: Access;
  readonly #workflow: WorkflowIdentity;
  readonly #request: WatchRequest;
  readonly #call: OpenCall;
  readonly #signal: AbortSignal;
  /** undefined: all. */
  readonly #names: ReadonlySet<string> | undefined;
  /** Offset of the last snapshot: changes up to there are in its values. */
  #settled = 0;

  constructor(
    deps: WatchDeps,
    access: Access,
    workflow: WorkflowIdentity,
    request: WatchRequest,
    call: OpenCall,
    signal: AbortSignal,
  ) {
    this.#deps = deps;
    this.#access = access;
    this.#workflow = workflow;
    this.#request = request;
    this.#call = call;
    this.#signal = signal;
    const names = assertFewNames("names", request.names);
    this.#names = names.length === 0 ? undefined : new Set(names);
  }

  async *run(): AsyncGenerator<WatchMessage> {
    const { options, includeInitialValues, allowMissing } = this.#request;
    const target = { kind: "workflow", workflowId: this.#workflow.workflowId } as const;
    const types = [EventType.VARIABLE_SET, EventType.VARIABLE_DELETED];
    const request = toFollowRequest(this.#access, this.#workflow, target, { ...options, types, tasks: [] });
    const snapshot = options.start === "latest" ? await this.#readSnapshot() : undefined;
    if (snapshot !== undefined && !allowMissing) this.#assertNoneMissing(snapshot);
    this.#settled = snapshot?.offset ?? 0;
    const start = snapshot?.offset ?? request.start;
    const matches = (event: StoredEvent) => this.#concerns(event);
    const messages = follow(this.#deps, { ...request, start, matches }, this.#call, this.#signal);
    for await (const message of messages) {
      switch (message.kind) {
        case "opened":
          yield message;
          if (snapshot !== undefined && includeInitialValues) yield* this.#values(snapshot);
          break;
        case "events":
          yield { kind: "updates", updates: message.events.map(toUpdate) };
          break;
        case "gap":
          yield* this.#pass(message);
          break;
        case "heartbeat":
          // A snapshot after a gap may be ahead of the cursor.
          yield { kind: "heartbeat", offset: Math.max(message.offset, this.#settled) };
          break;
        default:
          yield message;
      }
    }
  }

  #concerns(event: StoredEvent): boolean {
    if (event.offset <= this.#settled) return false;
    return this.#names === undefined || this.#names.has(toUpdate(event).name);
  }

  /** Declares a loss, then tells the values as they are now; what a snapshot has told already is none. */
  async *#pass(gap: Extract<FollowMessage, { kind: "gap" }>): AsyncGenerator<WatchMessage> {
    if (gap.to <= this.#settled) return;
    yield { ...gap, from: Math.max(gap.from, this.#settled + 1) };
    const snapshot = await this.#persistently(() => this.#readSnapshot());
    if (snapshot === undefined) return;
    this.#settled = snapshot.offset;
    yield* this.#values(snapshot);
  }

  /** Without its last message if the call is closed meanwhile: following says so then. */
  async *#values(snapshot: Snapshot): AsyncGenerator<WatchMessage> {
    for (let at = 0; at < snapshot.entries.length; ) {
      const batch = firstBatch(snapshot.entries, at);
      at += batch.length;
      const found = await this.#persistently(() => this.#deps.variableStore.readAt(this.#workflow, batch));
      if (found === undefined) return;
      const updates = found.map((variable) => ({
        kind: "initial" as const,
        name: variable.name,
        offset: snapshot.offset,
        replaced: 0,
        entryLength: 0,
        content: () => ({ variable, oldValue: undefined }),
      }));
      if (updates.length > 0) yield { kind: "updates", updates };
    }
    yield { kind: "snapshot_complete", offset: snapshot.offset };
  }

  async #readSnapshot(): Promise<Snapshot> {
    const { workflowId } = this.#workflow;
    const most = limits.snapshotVariables;
    const names = this.#names && [...this.#names];
    const snapshot = await this.#deps.variableStore.readSnapshot(this.#workflow, names, most + 1);
    if (snapshot === undefined) {
      throw new DomainError(
        "not_found",
        `workflow ${workflowId} does not exist any more: its tree was deleted`,
      );
    }
    if (snapshot.entries.length > most) {
      throw new DomainError(
        "failed_precondition",
        `workflow ${workflowId} has more than ${most} variables, too many for one watch; name those to watch, or give after_offset and read values with ListVariables`,
      );
    }
    return snapshot;
  }

  #assertNoneMissing({ entries }: Snapshot): void {
    if (this.#names === undefined || entries.length === this.#names.size) return;
    const found = new Set(entries.map(({ name }) => name));
    const missing = [...this.#names].filter((name) => !found.has(name));
    let bytes = 0;
    const named = missing.filter((name) => {
      bytes += Buffer.byteLength(name);
      return bytes <= missingBytes;
    });
    const shown = named.slice(0, 5).map((name) => JSON.stringify(name));
    const rest = missing.length - shown.length;
    throw new DomainError(
      "not_found",
      `names: workflow ${this.#workflow.workflowId} has no variable ${shown.join(", ")}${rest > 0 ? ` and ${rest} more` : ""}; set them first, or wait for them with allow_missing`,
      { missingVariables: named },
    );
  }

  /** Also while the database is away. undefined: the call is closed. */
  async #persistently<T>(read: () => Promise<T>): Promise<T | undefined> {
    for (;;) {
      this.#signal.throwIfAborted();
      if (this.#call.closing !== undefined) return undefined;
      try {
        return await read();
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        await this.#pause(storeRetryMs);
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    const bell = new Wakeup();
    const ring = () => bell.ring();
    const cancel = this.#deps.clock.after(ms, ring);
    const stopListening = this.#call.onClosing(ring);
    this.#signal.addEventListener("abort", ring, { once: true });
    await bell.wait();
    this.#signal.removeEventListener("abort", ring);
    stopListening();
    cancel();
  }
}

/** The entries from `at` on that fit into one message; one larger may stand alone. */
function firstBatch(entries: readonly SnapshotEntry[], at: number): readonly SnapshotEntry[] {
  let bytes = 0;
  let end = at;
  for (; end < entries.length && end - at < limits.batchEntries; end++) {
    bytes += (entries[end] as SnapshotEntry).bytes;
    if (end > at && bytes > limits.batchBytes) break;
  }
  return entries.slice(at, end);
}
