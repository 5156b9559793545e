/**
 * The recent changes of one tenant's registry on this instance: read once, however many watch. One query, when a signal
 * says that something changed and once a second in any case, brings what was committed since the last one; so a lost signal
 * delays, and nothing is missed.
 *
 * A watcher holds a place in this window, not a queue. One that fell out of it reads what it missed from the store, so
 * watchers cost O(1) and a slow one delays nobody.
 */
import type { Clock } from "../clock.ts";
import { payloadSize } from "../event.ts";
import { limits } from "../limits.ts";
import type { Workflow } from "../registry.ts";
import { Wakeup } from "../wakeup.ts";
import type { Change, ChangePosition, Moment, WorkflowChangeStore } from "./change-store.ts";

export interface ChangesDeps {
  readonly changes: WorkflowChangeStore;
  readonly clock: Clock;
  /** Called after each look at the database. `error`: why it failed. */
  readonly onLooked: (tenant: string, error: Error | undefined) => void;
}

/** What one message brings. Shared by all watchers at the same place: made, and encoded, once. */
export interface WorkflowBatch {
  readonly workflows: readonly Workflow[];
  readonly deleted: readonly string[];
}

/** A place in the changes, and how the store calls it. While nothing changes, the position moves on. */
export interface Mark {
  readonly serial: number;
  position: ChangePosition;
}

/** After the end of a query the next one for a signal waits so long: what comes meanwhile is read with it, ms. */
const spacingMs = 20;
const checkIntervalMs = 1000;

interface Kept {
  readonly change: Change;
  readonly bytes: number;
}

export class TenantChanges {
  readonly #tenant: string;
  readonly #deps: ChangesDeps;
  #kept: Kept[] = [];
  #bytes = 0;
  /** Of the first one kept. */
  #first = 0;
  /** The last serial of each workflow that is kept. */
  readonly #newest = new Map<string, number>();
  readonly #made = new Map<string, { readonly batch: WorkflowBatch; readonly next: number }>();
  readonly #listeners = new Set<() => void>();
  readonly #work = new Wakeup();
  #mark: Mark;
  /** What was read up to: in the middle of a round if a page failed, so that no deletion is told again after a change. */
  #position: ChangePosition;
  #closed = false;
  /** Ends with `close`. */
  readonly done: Promise<void>;

  constructor(tenant: string, now: ChangePosition, deps: ChangesDeps) {
    this.#tenant = tenant;
    this.#deps = deps;
    this.#mark = { serial: 0, position: now };
    this.#position = now;
    this.done = this.#run();
  }

  /** Serial of the next change. */
  get head(): number {
    return this.#first + this.#kept.length;
  }

  /** The last place up to which everything is known. */
  get mark(): Mark {
    return this.#mark;
  }

  /** Is what comes from this place on still here? */
  has(serial: number): boolean {
    return serial >= this.#first;
  }

  /** Something may have changed. */
  ring(): void {
    this.#work.ring();
  }

  /** Called when there is something new. Returns how to stop it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What comes at a place: at most 1,000 workflows and 1 MiB, the newest state of each. `known`: leave out what was then. */
  take(
    from: number,
    rootsOnly: boolean,
    known: Moment | undefined,
  ): { readonly batch: WorkflowBatch; readonly next: number } {
    if (known !== undefined) return this.#make(from, rootsOnly, known);
    const key = `${from} ${rootsOnly}`;
    const made = this.#made.get(key) ?? this.#make(from, rootsOnly, undefined);
    this.#made.set(key, made);
    return made;
  }

  close(): void {
    this.#closed = true;
    this.ring();
  }

  #make(from: number, rootsOnly: boolean, known: Moment | undefined) {
    const batch = new BatchMaker();
    let next = from;
    for (; next < this.head; next++) {
      const { change, bytes } = this.#kept[next - this.#first] as Kept;
      if (known !== undefined && this.#deps.changes.includes(known, change.transaction)) continue;
      if (change.kind === "changed") {
        if (rootsOnly && change.workflow.depth > 0) continue;
        if (this.#newest.get(change.workflow.workflowId) !== next) continue; // comes later, newer
        if (!batch.change(change.workflow, bytes)) break;
      } else if (!batch.delete(rootsOnly ? [change.rootWorkflowId] : change.workflowIds)) break;
    }
    return { batch: batch.done(), next };
  }

  async #run(): Promise<void> {
    const { clock } = this.#deps;
    while (!this.#closed) {
      const cancel = clock.after(checkIntervalMs, () => this.ring());
      await this.#work.wait();
      cancel();
      if (this.#closed) return;
      try {
        await this.#read();
        if (!this.#closed) this.#deps.onLooked(this.#tenant, undefined);
      } catch (error) {
        if (!this.#closed) this.#deps.onLooked(this.#tenant, error as Error);
      }
      await new Promise<void>((resolve) => {
        clock.after(spacingMs, resolve);
      });
    }
  }

  async #read(): Promise<void> {
    for (;;) {
      const page = await this.#deps.changes.readChanges(this.#tenant, false, this.#position);
      if (this.#closed) return;
      if (page === undefined) return this.#beginAnew();
      for (const change of page.changes) this.#keep(change);
      this.#position = page.next;
      if (page.complete) this.#noteKnown(page.next);
      if (page.changes.length > 0) {
        this.#made.clear();
        for (const listener of this.#listeners) listener();
      }
      if (page.complete) return;
    }
  }

  #noteKnown(position: ChangePosition): void {
    if (this.#mark.serial === this.head) this.#mark.position = position;
    else this.#mark = { serial: this.head, position };
  }

  /** It cannot be told what changed: every watcher finds itself out of the window, and ends for the same reason. */
  async #beginAnew(): Promise<void> {
    const { now } = await this.#deps.changes.readNewest({
      tenant: this.#tenant,
      rootsOnly: true,
      size: 1,
      asOf: undefined,
      before: undefined,
    });
    this.#first = this.head + 1;
    this.#kept = [];
    this.#bytes = 0;
    this.#newest.clear();
    this.#made.clear();
    this.#mark = { serial: this.head, position: now };
    this.#position = now;
    for (const listener of this.#listeners) listener();
  }

  #keep(change: Change): void {
    const bytes = sizeOf(change);
    if (change.kind === "changed") this.#newest.set(change.workflow.workflowId, this.head);
    this.#kept.push({ change, bytes });
    this.#bytes += bytes;
    // A quarter at once: moving an array for each one would cost its length.
    if (this.#kept.length > limits.watchWindowEntries || this.#bytes > limits.watchWindowBytes) this.#evict();
  }

  #evict(): void {
    const [entries, most] = [(limits.watchWindowEntries * 3) / 4, (limits.watchWindowBytes * 3) / 4];
    let drop = 0;
    while (this.#kept.length - drop > entries || this.#bytes > most) {
      const { change, bytes } = this.#kept[drop] as Kept;
      this.#bytes -= bytes;
      if (change.kind === "changed" && this.#newest.get(change.workflow.workflowId) === this.#first + drop)
        this.#newest.delete(change.workflow.workflowId);
      drop++;
    }
    this.#kept = this.#kept.slice(drop);
    this.#first += drop;
  }
}

/** Puts changes into one message; what is said of a workflow later counts. */
export class BatchMaker {
  readonly #workflows = new Map<string, Workflow>();
  readonly #deleted = new Set<string>();
  #bytes = 0;

  /** false: it does not fit any more. */
  change(workflow: Workflow, bytes: number): boolean {
    if (!this.#fits(1, bytes)) return false;
    this.#deleted.delete(workflow.workflowId);
    this.#workflows.set(workflow.workflowId, workflow);
    return true;
  }

  /** false: they do not fit any more. */
  delete(ids: readonly string[]): boolean {
    if (!this.#fits(ids.length, ids.length * idBytes)) return false;
    for (const id of ids) {
      this.#workflows.delete(id);
      this.#deleted.add(id);
    }
    return true;
  }

  done(): WorkflowBatch {
    return { workflows: [...this.#workflows.values()], deleted: [...this.#deleted] };
  }

  #fits(count: number, bytes: number): boolean {
    const before = this.#workflows.size + this.#deleted.size;
    if (before > 0 && before + count > limits.batchEntries) return false;
    if (before > 0 && this.#bytes + bytes > limits.batchBytes) return false;
    this.#bytes += bytes;
    return true;
  }
}

const idBytes = 40;

/** Of a workflow in a message, at most. */
export const workflowBytes = ({ name, metadata }: Workflow): number =>
  300 + payloadSize(name) + payloadSize(JSON.stringify(metadata));

const sizeOf = (change: Change): number =>
  change.kind === "changed" ? workflowBytes(change.workflow) : change.workflowIds.length * idBytes;
