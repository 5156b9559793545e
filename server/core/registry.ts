/**
 * Which workflows exist, who owns them, who is whose child. The facts that never change are cached; what changes is
 * decided by `append` under the stream's lock and only hinted at here, for answers that are given before the commit.
 *
 * Other instances tell what they change. Should that get lost, a second look heals it: who is asked for is read again once
 * a minute, beside the call that asked.
 *
 * Another instance may delete a tree, and somebody, of another tenant too, may make one anew under the same id. What is
 * remembered then names a stream that does not exist: whatever is done with it finds nothing, and forgets. And nobody is
 * turned away by memory alone.
 */
import { LRUCache } from "lru-cache";
import {
  type Access,
  assertMayAccess,
  mayAccess,
  type WorkflowIdentity,
  type WorkflowKey,
} from "./access.ts";
import type { Clock } from "./clock.ts";
import { DomainError } from "./errors.ts";
import type { Newsroom } from "./news.ts";

export interface Workflow extends WorkflowIdentity {
  readonly parentWorkflowId: string | undefined;
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly depth: number;
  readonly status: number;
  readonly createdMs: number;
  readonly closedMs: number | undefined;
  readonly cancelRequestedMs: number | undefined;
  readonly terminalOffset: number | undefined;
  readonly openInSubtree: number;
  readonly retentionMaxAgeMs: number | undefined;
  readonly retentionMaxEvents: number | undefined;
}

export interface WorkflowListFilter {
  readonly status: number | undefined;
  readonly parentWorkflowId: string | undefined;
  readonly rootsOnly: boolean;
  readonly nameContains: string;
}

export interface WorkflowPage {
  readonly workflows: readonly Workflow[];
  /** undefined: the last page. */
  readonly next: { readonly createdMs: number; readonly workflowId: string } | undefined;
}

/** The registry's tables. */
export interface WorkflowStore {
  find(workflowId: string): Promise<Workflow | undefined>;
  /** Newest first, after the given one. */
  list(
    tenant: string,
    filter: WorkflowListFilter,
    size: number,
    after: WorkflowPage["next"],
  ): Promise<WorkflowPage>;
  /** The workflow and its descendants, parents before children, after the given creation offset. */
  listTree(
    workflow: WorkflowIdentity,
    size: number,
    afterOffset: number,
  ): Promise<{ workflows: readonly Workflow[]; nextOffset: number | undefined }>;
  /** Removes a closed tree. */
  deleteTree(root: WorkflowIdentity): Promise<DeletedTree>;
}

/** How many entries could still be read; or it is not there, or something in it is open. */
export type DeletedTree = { readonly entries: number } | "unknown" | "open";

/** What this instance has seen of a workflow; may be behind, never ahead. */
export interface WorkflowHints {
  closed: boolean;
  cancelRequested: boolean;
}

interface Cached {
  readonly identity: WorkflowIdentity;
  readonly hints: WorkflowHints;
  /** When it was last read, ms. */
  readMs: number;
}

export interface RegistryDeps {
  readonly store: WorkflowStore;
  readonly clock: Pick<Clock, "now">;
  readonly news: Newsroom;
}

/** After so long a cached workflow is read again, ms. */
const secondLookMs = 60_000;

export class Registry {
  readonly store: WorkflowStore;
  readonly #deps: RegistryDeps;
  /** What was read before is read again when it is next asked for, ms. */
  #doubtedMs = Number.NEGATIVE_INFINITY;
  /** By root: what is known of its tree. */
  readonly #trees = new Map<string, Set<string>>();
  readonly #cache = new LRUCache<string, Cached>({
    max: 50_000,
    dispose: ({ identity }, id, reason) => {
      if (reason !== "set") this.#leaveTree(identity.path[0] as string, id);
    },
  });

  constructor(deps: RegistryDeps) {
    this.store = deps.store;
    this.#deps = deps;
    deps.news.on("cancel_requested", (news) => this.#noteCancelRequested(news));
    deps.news.on("workflow_closed", (news) => this.#noteClosed(news, news.root, news.withDescendants));
    deps.news.on("tree_deleted", ({ workflowId }) => this.forgetTree(workflowId));
  }

  /** The workflow if it exists and the caller may touch it. Throws not_found or permission_denied. */
  async require(access: Access, workflowId: string): Promise<Cached> {
    const id = workflowId.toLowerCase();
    const remembered = this.#cache.get(id);
    if (remembered !== undefined && mayAccess(access, remembered.identity)) {
      const { readMs } = remembered;
      const isOld = this.#deps.clock.now() - readMs >= secondLookMs || readMs <= this.#doubtedMs;
      if (isOld) void this.#lookAgain(id, remembered);
      return remembered;
    }
    const cached = this.note(await this.store.find(id), id);
    assertMayAccess(access, cached.identity);
    return cached;
  }

  /** The current state, from the database. */
  async read(access: Access, workflowId: string): Promise<Workflow> {
    const found = await this.store.find(workflowId.toLowerCase());
    const { identity } = this.note(found, workflowId);
    assertMayAccess(access, identity);
    return found as Workflow;
  }

  /** Throws not_found if it is not there any more: asked where nothing was found of it. */
  async assertCurrent({ workflowId, streamId }: WorkflowIdentity): Promise<void> {
    const found = await this.store.find(workflowId);
    if (found?.streamId === streamId) return;
    this.forget(workflowId);
    throw unknownWorkflow(workflowId);
  }

  note(found: Workflow | undefined, workflowId: string): Cached {
    if (found === undefined) throw unknownWorkflow(workflowId);
    const { tenant, streamId, path } = found;
    const known = this.#cache.get(found.workflowId);
    // In another stream: it was deleted, and somebody made another one with its id.
    if (known?.identity.streamId !== streamId) this.forget(found.workflowId);
    const hints =
      known?.identity.streamId === streamId ? known.hints : { closed: false, cancelRequested: false };
    hints.closed ||= found.status !== 1;
    hints.cancelRequested ||= found.cancelRequestedMs !== undefined;
    const cached = {
      identity: { workflowId: found.workflowId, tenant, streamId, path },
      hints,
      readMs: this.#deps.clock.now(),
    };
    this.#cache.set(found.workflowId, cached);
    const root = path[0] as string;
    this.#trees.set(root, (this.#trees.get(root) ?? new Set()).add(found.workflowId));
    return cached;
  }

  /** Somebody asked it to stop. */
  noteCancelRequested(workflow: WorkflowKey, reason: string): void {
    const { workflowId, streamId } = workflow;
    this.#noteCancelRequested(workflow);
    this.#deps.news.tell("cancel_requested", { workflowId, streamId, reason });
  }

  /** A workflow was closed, perhaps with all below it. */
  noteClosed(workflow: WorkflowIdentity, withDescendants: boolean): void {
    const { workflowId, streamId, path } = workflow;
    const root = path[0] as string;
    this.#noteClosed(workflow, root, withDescendants);
    this.#deps.news.tell("workflow_closed", { workflowId, streamId, root, withDescendants });
  }

  /** Somebody found it closed. */
  noteFoundClosed(workflowId: string): void {
    const cached = this.#cache.peek(workflowId);
    if (cached !== undefined) cached.hints.closed = true;
  }

  /** A tree was deleted. */
  noteDeleted(root: string): void {
    this.forgetTree(root);
    this.#deps.news.tell("tree_deleted", { workflowId: root });
  }

  /** News may have been lost until now. */
  doubtAll(): void {
    this.#doubtedMs = this.#deps.clock.now();
  }

  forget(workflowId: string): void {
    this.#cache.delete(workflowId);
  }

  forgetTree(root: string): void {
    for (const id of this.#trees.get(root) ?? []) this.#cache.delete(id);
  }

  #noteCancelRequested({ workflowId, streamId }: WorkflowKey): void {
    const cached = this.#cache.peek(workflowId);
    if (cached?.identity.streamId === streamId) cached.hints.cancelRequested = true;
  }

  #noteClosed({ workflowId, streamId }: WorkflowKey, root: string, withDescendants: boolean): void {
    for (const id of withDescendants ? (this.#trees.get(root) ?? []) : [workflowId]) {
      const cached = this.#cache.peek(id);
      if (cached?.identity.streamId !== streamId || !cached.identity.path.includes(workflowId)) continue;
      cached.hints.closed = true;
    }
  }

  #leaveTree(root: string, id: string): void {
    const tree = this.#trees.get(root);
    tree?.delete(id);
    if (tree?.size === 0) this.#trees.delete(root);
  }

  /** Beside the call: it is answered from what is known. Should this fail, the next call tries again. */
  async #lookAgain(id: string, cached: Cached): Promise<void> {
    const askedMs = cached.readMs;
    cached.readMs = this.#deps.clock.now();
    try {
      const found = await this.store.find(id);
      if (found === undefined) this.forget(id);
      else this.note(found, id);
    } catch {
      cached.readMs = askedMs;
    }
  }
}

export const unknownWorkflow = (workflowId: string) =>
  new DomainError(
    "not_found",
    `workflow ${workflowId} does not exist; register it with WorkflowService.CreateWorkflow`,
  );
