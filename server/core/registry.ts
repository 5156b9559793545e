/**
 * Which workflows exist, who owns them, who is whose child. The facts that never change are cached; what changes is
 * decided by `append` under the stream's lock and only hinted at here, for answers that are given before the commit.
 *
 * Another instance may delete a tree, and somebody, of another tenant too, may make one anew under the same id. What is
 * remembered then names a stream that does not exist: whatever is done with it finds nothing, and forgets. A deletion is
 * signalled; without the signal it is forgotten after a minute. And nobody is turned away by memory alone.
 */
import { LRUCache } from "lru-cache";
import { type Access, assertMayAccess, mayAccess, type WorkflowIdentity } from "./access.ts";
import { DomainError } from "./errors.ts";

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
}

const rememberedMs = 60_000;

export class Registry {
  readonly store: WorkflowStore;
  readonly #cache = new LRUCache<string, Cached>({ max: 50_000, ttl: rememberedMs });

  constructor(store: WorkflowStore) {
    this.store = store;
  }

  /** The workflow if it exists and the caller may touch it. Throws not_found or permission_denied. */
  async require(access: Access, workflowId: string): Promise<Cached> {
    const id = workflowId.toLowerCase();
    const remembered = this.#cache.get(id);
    if (remembered !== undefined && mayAccess(access, remembered.identity)) return remembered;
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
    const known = this.#cache.get(found.workflowId);
    const isSame = known?.identity.streamId === found.streamId;
    const hints = isSame ? known.hints : { closed: false, cancelRequested: false };
    hints.closed ||= found.status !== 1;
    hints.cancelRequested ||= found.cancelRequestedMs !== undefined;
    const { tenant, streamId, path } = found;
    const cached = { identity: { workflowId: found.workflowId, tenant, streamId, path }, hints };
    this.#cache.set(found.workflowId, cached);
    return cached;
  }

  /** A workflow was closed, perhaps with all below it. */
  noteClosed(workflowId: string, withDescendants: boolean): void {
    if (!withDescendants) {
      const cached = this.#cache.peek(workflowId);
      if (cached !== undefined) cached.hints.closed = true;
      return;
    }
    for (const { identity, hints } of this.#cache.values())
      hints.closed ||= identity.path.includes(workflowId);
  }

  /** A tree was deleted. */
  forgetTree(root: string): void {
    for (const [id, { identity }] of this.#cache.entries())
      if (identity.path[0] === root) this.#cache.delete(id);
  }

  forget(workflowId: string): void {
    this.#cache.delete(workflowId);
  }
}

export const unknownWorkflow = (workflowId: string) =>
  new DomainError(
    "not_found",
    `workflow ${workflowId} does not exist; register it with WorkflowService.CreateWorkflow`,
  );
