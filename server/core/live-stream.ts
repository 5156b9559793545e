/**
 * One stream with readers on this instance: its window, its scopes, and the shape of its tree. Guarantees that entries
 * enter the window once, in order and without a hole, whatever notices do: a notice that continues the window brings its
 * entries, any other one only tells that there is more, and the missing range is read, one read at a time.
 *
 * An entry concerns only the scopes on its own path (its task, its workflow, the subtrees above, the tree), so its cost is
 * O(depth + interested readers), however many children and readers there are.
 */
import type { Clock } from "./clock.ts";
import { EventType, isWorkflowTerminal, type StoredEvent } from "./event.ts";
import { copyOf } from "./event-layout.ts";
import { limits } from "./limits.ts";
import type { EventStore, Notice, ScopeKey, ScopeState } from "./ports.ts";
import { ReplayWindow, type WindowBounds } from "./replay-window.ts";
import { Scope, type ScopeReader } from "./scope.ts";
import { SharedPages } from "./shared-pages.ts";
import type { StreamTraffic } from "./traffic.ts";
import { WriteTurns } from "./write-turns.ts";

export interface LiveStreamDeps {
  /** Where readers that are behind get their pages; absent: the store. */
  readonly history?: Pick<EventStore, "readPage">;
  /** When those write what they got; absent: this stream's own. */
  readonly writeTurns?: Pick<WriteTurns, "take" | "noteLive">;
  readonly store: Pick<EventStore, "readPage" | "readScope" | "readParents">;
  readonly clock: Clock;
  readonly onFailure: (message: string, error: Error) => void;
}

const retryMs = 200;

export class LiveStream {
  readonly streamId: string;
  readonly window: ReplayWindow;
  readonly traffic: StreamTraffic;
  /** What readers that are behind the window read. */
  readonly pages: SharedPages;
  readonly writeTurns: Pick<WriteTurns, "take" | "noteLive">;
  /** As of the last tail check: when that was, ms, and up to where retention has removed entries. */
  checkedMs = 0;
  floor = 0;
  readonly #deps: LiveStreamDeps;
  readonly #scopes = new Map<string, Scope>();
  /** Scopes of tasks by workflow, which end with it. */
  readonly #taskScopes = new Map<string, Set<Scope>>();
  #subtreeScopes = 0;
  /** Child → parent; known once somebody reads a subtree. */
  #parents: Map<string, string> | undefined;
  #parentsLoaded: Promise<void> | undefined;
  /** Highest offset heard of. */
  #known: number;
  /** Highest offset that a notice told of; of what is beyond it at two tail checks the notice was lost. */
  #told: number;
  #untold: number;
  #filling = false;
  #closed = false;
  /** The stream is gone: its tree was deleted. */
  deleted = false;

  constructor(
    streamId: string,
    tail: number,
    deps: LiveStreamDeps,
    bounds: WindowBounds,
    traffic: StreamTraffic,
  ) {
    this.streamId = streamId;
    this.traffic = traffic;
    this.#deps = deps;
    this.pages = new SharedPages(deps.history ?? deps.store, deps.clock);
    this.writeTurns = deps.writeTurns ?? new WriteTurns(deps.clock);
    this.window = new ReplayWindow(tail, bounds);
    this.#known = this.#told = this.#untold = tail;
  }

  /** Last offset that is known to exist. */
  get tail(): number {
    return Math.max(this.#known, this.window.tail);
  }

  /** Where each reader stands. */
  *positions(): Generator<number> {
    for (const scope of this.#scopes.values()) yield* scope.positions();
  }

  /** How many readers each scope has. */
  *readers(): Generator<readonly [ScopeKey["kind"], number]> {
    for (const { key, readers } of this.#scopes.values()) yield [key.kind, readers];
  }

  onNotice(notice: Notice): void {
    if (notice.from > this.#told + 1) this.traffic.healed("notice");
    this.#told = Math.max(this.#told, notice.to);
    if (notice.to <= this.window.tail || this.#closed) return;
    const { entries } = notice;
    if (entries !== undefined && !this.#filling && notice.from <= this.window.tail + 1) {
      this.#apply(entries);
    }
    this.noteTail(notice.to);
  }

  /** There is something up to this offset. */
  noteTail(tail: number): void {
    this.#known = Math.max(this.#known, tail);
    if (this.#known > this.window.tail) void this.#fill();
  }

  /** The tail as Postgres has it. A notice may be on its way still; one that is not here by the next check was lost. */
  checkTail(tail: number): void {
    if (this.#untold > this.#told) {
      this.traffic.healed("tail_check");
      this.#told = this.#untold;
    }
    this.#untold = tail;
    this.noteTail(tail);
  }

  /** These came before it was open. */
  noteEarly(tail: number): void {
    this.#told = Math.max(this.#told, tail);
    this.noteTail(tail);
  }

  /** The tree was deleted: readers are told. */
  noteDeleted(): void {
    this.deleted = true;
    for (const scope of this.#scopes.values()) scope.wake();
  }

  /** Joins the scope of this key, which is made if needed. Needs one `leave`. */
  async join(key: ScopeKey, state: ScopeState, reader: ScopeReader): Promise<Scope> {
    let current = state;
    if (key.kind === "subtree") await this.#loadParents();
    for (;;) {
      const existing = this.#scopes.get(nameOf(key));
      if (existing !== undefined) {
        existing.join(reader);
        return existing;
      }
      if (current.tailOffset >= this.window.from - 1) break;
      // The window has run past the state while it was on its way: lifecycle entries between would be missed.
      const again = await this.#deps.store.readScope(this.streamId, key);
      if (again === undefined) {
        this.noteDeleted();
        break;
      }
      current = again;
    }
    const scope = new Scope(key, this.window, current);
    for (let offset = this.window.from; offset <= this.window.tail; offset++) {
      const event = this.window.at(offset) as StoredEvent;
      if (this.#belongs(event, key)) scope.push(event);
      else if (key.kind === "task" && event.workflowId === key.workflowId) scope.noteLifecycle(event);
    }
    this.#scopes.set(nameOf(key), scope);
    if (key.kind === "subtree") this.#subtreeScopes++;
    if (key.kind === "task") {
      const scopes = this.#taskScopes.get(key.workflowId) ?? new Set();
      this.#taskScopes.set(key.workflowId, scopes.add(scope));
    }
    scope.join(reader);
    return scope;
  }

  /** A scope is dropped with its last reader. */
  leave(scope: Scope, reader: ScopeReader): void {
    scope.leave(reader);
    if (scope.readers > 0 || this.#scopes.get(nameOf(scope.key)) !== scope) return;
    this.#scopes.delete(nameOf(scope.key));
    if (scope.key.kind === "subtree") this.#subtreeScopes--;
    if (scope.key.kind === "task") {
      const scopes = this.#taskScopes.get(scope.key.workflowId);
      scopes?.delete(scope);
      if (scopes?.size === 0) this.#taskScopes.delete(scope.key.workflowId);
    }
  }

  close(): void {
    this.#closed = true;
    this.window.reset(this.window.tail);
  }

  #apply(entries: readonly StoredEvent[]): void {
    if (this.#closed) return; // a page was still on its way
    const touched = new Set<Scope>();
    for (const event of entries) {
      if (event.offset <= this.window.tail) continue;
      if (event.offset !== this.window.tail + 1) break; // a hole: what follows is read
      this.window.push(event);
      this.#route(event, touched);
    }
    this.traffic.saw(entries.at(-1));
    for (const scope of touched) scope.wake();
  }

  #route(event: StoredEvent, touched: Set<Scope>): void {
    if (event.type === EventType.WORKFLOW_CREATED) this.#noteCreated(event);
    const give = (scope: Scope | undefined) => {
      if (scope === undefined) return;
      scope.push(event);
      touched.add(scope);
    };
    give(this.#scopes.get("tree"));
    give(this.#scopes.get(`workflow ${event.workflowId}`));
    if (event.taskExecutionId !== "") {
      give(this.#scopes.get(`task ${event.workflowId} ${event.taskExecutionId}`));
    }
    if (this.#subtreeScopes > 0) {
      let id: string | undefined = event.workflowId;
      for (let i = 0; i <= limits.depth && id !== undefined; i++) {
        give(this.#scopes.get(`subtree ${id}`));
        id = this.#parents?.get(id);
      }
    }
    if (isWorkflowTerminal(event.type)) {
      for (const scope of this.#taskScopes.get(event.workflowId) ?? []) {
        scope.noteLifecycle(event);
        touched.add(scope);
      }
    }
  }

  #belongs(event: StoredEvent, key: ScopeKey): boolean {
    switch (key.kind) {
      case "tree":
        return true;
      case "workflow":
        return event.workflowId === key.workflowId;
      case "task":
        return event.workflowId === key.workflowId && event.taskExecutionId === key.taskExecutionId;
      case "subtree": {
        let id: string | undefined = event.workflowId;
        for (let i = 0; i <= limits.depth && id !== undefined; i++) {
          if (id === key.workflowId) return true;
          id = this.#parents?.get(id);
        }
        return false;
      }
    }
  }

  #noteCreated(event: StoredEvent): void {
    if (this.#parents === undefined || typeof event.payload !== "string") return;
    const { parentWorkflowId } = JSON.parse(event.payload) as { parentWorkflowId?: string };
    if (parentWorkflowId !== undefined) this.#parents.set(event.workflowId, parentWorkflowId);
  }

  /** Entries that arrive meanwhile extend the same map, so nothing falls between the query and them. */
  #loadParents(): Promise<void> {
    if (this.#parentsLoaded !== undefined) return this.#parentsLoaded;
    const parents = new Map<string, string>();
    this.#parents = parents;
    this.#parentsLoaded = this.#deps.store.readParents(this.streamId).then(
      (found) => {
        for (const [child, parent] of found) parents.set(child, parent);
      },
      (error) => {
        this.#parentsLoaded = undefined;
        throw error;
      },
    );
    return this.#parentsLoaded;
  }

  /** Children whose creation was trimmed before it came here. */
  async #reloadParents(): Promise<void> {
    const parents = this.#parents;
    if (parents === undefined) return;
    for (const [child, parent] of await this.#deps.store.readParents(this.streamId))
      parents.set(child, parent);
  }

  async #fill(): Promise<void> {
    if (this.#filling) return;
    this.#filling = true;
    while (!this.#closed && !this.deleted && this.window.tail < this.#known) {
      try {
        await this.#fillPage();
      } catch (error) {
        this.#deps.onFailure(
          `stream ${this.streamId}: reading the missing entries failed; trying again`,
          error as Error,
        );
        await new Promise<void>((resolve) => {
          this.#deps.clock.after(retryMs, resolve);
        });
      }
    }
    this.#filling = false;
  }

  async #fillPage(): Promise<void> {
    const known = this.#known;
    const page = await this.#deps.store.readPage({
      streamId: this.streamId,
      scope: { kind: "tree", workflowId: "" },
      filter: { types: undefined, tasks: undefined },
      cursor: this.window.tail,
      upTo: Number.MAX_SAFE_INTEGER,
      descending: false,
      limit: limits.batchEntries,
    });
    if (page === undefined) return this.noteDeleted();
    if (page.floorOffset > this.window.tail) await this.#jump(page.floorOffset);
    // A window keeps them.
    this.#apply(page.events.map(copyOf));
    if (this.window.tail < page.tailOffset && page.events.length === 0) {
      throw new Error(`offset ${this.window.tail + 1} is missing though the tail is ${page.tailOffset}`);
    }
    // A notice of more than there is must not keep this loop busy; one that came meanwhile counts.
    if (this.#known === known) this.#known = Math.min(known, Math.max(page.tailOffset, this.window.tail));
  }

  /** Retention was faster than this hub: the window begins anew after the floor, the scopes ask the registry. */
  async #jump(floor: number): Promise<void> {
    await this.#reloadParents();
    const states = new Map<Scope, ScopeState | undefined>();
    // A reader may join while the states are read: until all are there.
    for (;;) {
      const scope = this.#scopes.values().find((candidate) => !states.has(candidate));
      if (scope === undefined) break;
      states.set(scope, await this.#deps.store.readScope(this.streamId, scope.key));
    }
    this.window.reset(floor);
    for (const [scope, state] of states) {
      scope.clear();
      if (state !== undefined) scope.rebase(state);
      scope.wake();
    }
  }
}

function nameOf(key: ScopeKey): string {
  if (key.kind === "tree") return "tree";
  return key.kind === "task"
    ? `task ${key.workflowId} ${key.taskExecutionId}`
    : `${key.kind} ${key.workflowId}`;
}
