/**
 * WatchWorkflows: the newest workflows of a tenant, then the newest state of what changes, until the call is closed.
 *
 * Guarantees: what was committed after the snapshot is told, at least as its newest state, and states of a workflow never go
 * back; deletions are told of every workflow that was told of; a watcher is a place in the changes and costs O(1) however
 * slow it is; the last message is `closing`. A watcher that is ten minutes behind is ended by an error, since deletions are
 * not remembered for longer.
 */
import type { Access } from "../access.ts";
import type { Clock } from "../clock.ts";
import { DomainError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { CallOwner, Closing, OpenCall, OpenCalls } from "../open-call.ts";
import { storeRetryMs } from "../pace.ts";
import { StoreError } from "../ports.ts";
import { Wakeup } from "../wakeup.ts";
import type { ChangePosition, Moment, WorkflowChangeStore } from "./change-store.ts";
import { BatchMaker, type Mark, type TenantChanges, type WorkflowBatch, workflowBytes } from "./changes.ts";
import type { Watches } from "./watches.ts";

export interface WatchDeps {
  readonly watches: Watches;
  readonly changes: WorkflowChangeStore;
  readonly calls: OpenCalls;
  readonly clock: Clock;
}

export interface WatchRequest {
  readonly rootsOnly: boolean;
  /** 0: the default. */
  readonly snapshotSize: number;
}

export type WatchMessage =
  | { readonly kind: "workflows"; readonly batch: WorkflowBatch }
  | { readonly kind: "snapshot_complete" }
  | { readonly kind: "heartbeat" }
  | ({ readonly kind: "closing" } & Closing);

export async function* watchWorkflows(
  deps: WatchDeps,
  access: Access,
  owner: CallOwner,
  request: WatchRequest,
  signal: AbortSignal,
): AsyncGenerator<WatchMessage> {
  const call = await deps.calls.openReader(owner);
  let changes: TenantChanges | undefined;
  let watcher: Watcher | undefined;
  try {
    changes = await deps.watches.acquire(access.tenant);
    watcher = new Watcher(deps, access.tenant, request, changes, call, signal);
    yield* watcher.run();
  } finally {
    watcher?.leave();
    if (changes !== undefined) deps.watches.release(access.tenant, changes);
    call.end();
  }
}

class Watcher {
  readonly #deps: WatchDeps;
  readonly #tenant: string;
  readonly #request: WatchRequest;
  readonly #changes: TenantChanges;
  readonly #call: OpenCall;
  readonly #signal: AbortSignal;
  readonly #wakeup = new Wakeup();
  readonly #ring = () => this.#wakeup.ring();
  readonly #stops: readonly (() => void)[];
  /** The next change to tell. */
  #cursor: number;
  /** Where that is in the store, should it fall out of the window. */
  #mark: Mark | undefined;
  /** What was told from the store is as of then: changes in the window that are not newer are left out. */
  #known: Moment | undefined;
  #sentMs: number;

  constructor(
    deps: WatchDeps,
    tenant: string,
    request: WatchRequest,
    changes: TenantChanges,
    call: OpenCall,
    signal: AbortSignal,
  ) {
    this.#deps = deps;
    this.#tenant = tenant;
    this.#request = request;
    this.#changes = changes;
    this.#call = call;
    this.#signal = signal;
    this.#cursor = changes.head;
    this.#sentMs = deps.clock.now();
    this.#stops = [changes.onChange(this.#ring), call.onClosing(this.#ring)];
    signal.addEventListener("abort", this.#ring, { once: true });
  }

  async *run(): AsyncGenerator<WatchMessage> {
    for await (const message of this.#messages()) {
      if (this.#signal.aborted) break;
      this.#sentMs = this.#deps.clock.now();
      yield message;
      this.#sentMs = this.#deps.clock.now();
      if (message.kind === "closing") return;
    }
    // Not a plain return: to the caller that would look like a complete stream.
    this.#signal.throwIfAborted();
  }

  leave(): void {
    this.#signal.removeEventListener("abort", this.#ring);
    for (const stop of this.#stops) stop();
  }

  async *#messages(): AsyncGenerator<WatchMessage> {
    yield* this.#snapshot();
    while (!this.#signal.aborted) {
      const { closing } = this.#call;
      if (closing !== undefined) yield { kind: "closing", ...closing };
      else if (!this.#changes.has(this.#cursor)) yield* this.#catchUp();
      else if (this.#cursor < this.#changes.head) {
        const { batch, next } = this.#changes.take(this.#cursor, this.#request.rootsOnly, this.#known);
        this.#cursor = next;
        this.#noteMark();
        if (batch.workflows.length + batch.deleted.length > 0) yield { kind: "workflows", batch };
      } else {
        this.#noteMark();
        yield* this.#beatOrWait();
      }
    }
  }

  /** Waits at most until the next heartbeat, or says it. */
  async *#beatOrWait(atMostMs = Number.POSITIVE_INFINITY): AsyncGenerator<WatchMessage> {
    const leftMs = this.#sentMs + limits.heartbeatMs.default - this.#deps.clock.now();
    if (leftMs <= 0) yield { kind: "heartbeat" };
    else await this.#wait(Math.min(leftMs, atMostMs));
  }

  /** Newest first, by pages, so that one who does not read holds one page. What changes meanwhile comes after it. */
  async *#snapshot(): AsyncGenerator<WatchMessage> {
    const { rootsOnly, snapshotSize } = this.#request;
    let left = snapshotSize === 0 ? limits.watchSnapshot.default : snapshotSize;
    let before: { createdMs: number; workflowId: string } | undefined;
    for (;;) {
      const read = () =>
        this.#deps.changes.readNewest({
          tenant: this.#tenant,
          rootsOnly,
          size: left,
          asOf: this.#known,
          before,
        });
      // The first failure is the caller's to hear; later the call stays.
      const page = this.#known === undefined ? await read() : yield* this.#patiently(read);
      if (page === undefined) return;
      if (this.#known === undefined) this.#setKnown(page.now);
      left -= page.workflows.length;
      const last = page.workflows.at(-1);
      if (last !== undefined) {
        yield { kind: "workflows", batch: { workflows: page.workflows, deleted: [] } };
        before = { createdMs: last.createdMs, workflowId: last.workflowId };
      }
      if (this.#call.closing !== undefined) return;
      if (!page.more || left <= 0) break;
    }
    yield { kind: "snapshot_complete" };
  }

  /** Tells from the store what fell out of the window. */
  async *#catchUp(): AsyncGenerator<WatchMessage> {
    const cursor = this.#changes.head;
    let position = (this.#mark as Mark).position;
    for (;;) {
      const from = position;
      const page = yield* this.#patiently(async () => ({
        found: await this.#deps.changes.readChanges(this.#tenant, this.#request.rootsOnly, from),
      }));
      if (page === undefined) return;
      if (page.found === undefined) throw tooFarBehind();
      let batch = new BatchMaker();
      for (const change of page.found.changes) {
        const add = () =>
          change.kind === "changed"
            ? batch.change(change.workflow, workflowBytes(change.workflow))
            : batch.delete(change.workflowIds);
        if (add()) continue;
        yield { kind: "workflows", batch: batch.done() };
        batch = new BatchMaker();
        add();
      }
      if (page.found.changes.length > 0) yield { kind: "workflows", batch: batch.done() };
      if (this.#call.closing !== undefined) return;
      position = page.found.next;
      if (page.found.complete) break;
    }
    this.#cursor = cursor;
    this.#setKnown(position);
  }

  #setKnown(position: ChangePosition): void {
    this.#known = position.since;
    this.#mark = { serial: this.#cursor, position };
  }

  /** At a place that the store knows: from then on the place moves on with time, as long as nothing changes. */
  #noteMark(): void {
    const { mark } = this.#changes;
    if (mark.serial !== this.#cursor) return;
    this.#mark = mark;
    if (this.#known !== undefined && this.#deps.changes.isCovered(this.#known, mark.position.since))
      this.#known = undefined;
  }

  /**
   * undefined: the call ends. While the database is away the watcher stays, and tries again; it is never silent for longer
   * than at other times, also while an answer does not come. A query that was begun is waited for: it uses the store.
   */
  async *#patiently<T>(read: () => Promise<T>): AsyncGenerator<WatchMessage, T | undefined> {
    while (!this.#isEnding()) {
      let answered = false;
      const reading = read().finally(() => {
        answered = true;
        this.#ring();
      });
      const settled = reading.catch(() => {});
      try {
        while (!answered && !this.#isEnding()) yield* this.#beatOrWait();
      } finally {
        await settled;
      }
      try {
        return await reading;
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
      }
      const againMs = this.#deps.clock.now() + storeRetryMs;
      for (;;) {
        const leftMs = againMs - this.#deps.clock.now();
        if (leftMs <= 0 || this.#isEnding()) break;
        yield* this.#beatOrWait(leftMs);
      }
    }
    return undefined;
  }

  #isEnding(): boolean {
    return this.#signal.aborted || this.#call.closing !== undefined;
  }

  async #wait(ms: number): Promise<void> {
    const cancel = this.#deps.clock.after(ms, this.#ring);
    await this.#wakeup.wait();
    cancel();
  }
}

const tooFarBehind = () =>
  new DomainError(
    "aborted",
    "the watch is more than 10 minutes behind, or the database was restored, so deletions may be unknown; forget what you know and watch again",
  );
