/**
 * Follows a scope of a stream: from a position through the past into the present, until the scope has ended, the call is
 * closed, or the reader leaves. Guarantees: every entry of scope and filter once and in order, or covered by a gap; the
 * last message is `ended` or `closing`.
 *
 * The reader is a cursor: it costs O(1) memory however slow it is. There is no hand-over from past to present: each round
 * takes what lies after the cursor, from the window if it is there, else a page from the store.
 */
import type { Clock } from "./clock.ts";
import { DomainError } from "./errors.ts";
import { isTaskTerminal, isWorkflowTerminal, type StoredEvent, sizeOf } from "./event.ts";
import type { Hub } from "./hub.ts";
import { limits } from "./limits.ts";
import type { LiveStream } from "./live-stream.ts";
import type { Closing, OpenCall } from "./open-call.ts";
import { type EventFilter, type EventStore, type Page, type ScopeKey, StoreError } from "./ports.ts";
import type { Scope } from "./scope.ts";
import { Wakeup } from "./wakeup.ts";

export type FollowMessage =
  | {
      readonly kind: "opened";
      readonly streamId: string;
      readonly epoch: number;
      readonly startOffset: number;
      readonly tailOffset: number;
      readonly floorOffset: number;
      /** Last offset of the scope, if it has ended already. */
      readonly finalOffset: number | undefined;
    }
  | { readonly kind: "events"; readonly events: readonly StoredEvent[] }
  | { readonly kind: "heartbeat"; readonly offset: number }
  | { readonly kind: "gap"; readonly from: number; readonly to: number }
  | ({ readonly kind: "closing" } & Closing)
  | {
      readonly kind: "ended";
      readonly status: number;
      readonly finalOffset: number;
      readonly taskOutcome: number | undefined;
    };

export interface FollowRequest {
  readonly streamId: string;
  readonly scope: ScopeKey;
  readonly filter: EventFilter;
  /** A further filter, of what the store cannot tell. What it leaves out counts neither as an event nor as a message. */
  readonly matches?: ((event: StoredEvent) => boolean) | undefined;
  /** After this offset, or only what comes from now on. */
  readonly start: number | "latest";
  readonly heartbeatIntervalMs: number;
  /** 0: never. Reset by events. */
  readonly idleTimeoutMs: number;
  /** Once live, at most one message in so long; 0: at once. */
  readonly minIntervalMs: number;
  /** 0: any. */
  readonly expectedEpoch: number;
}

export interface FollowDeps {
  readonly hub: Pick<Hub, "acquire" | "release">;
  readonly store: Pick<EventStore, "readScope" | "readPage">;
  readonly clock: Clock;
}

/** An EventSource comes back by itself after an idle timeout: not at once, ms. */
const afterIdleMs = 1000;
/** While the database is away, a reader that needs it asks again after so long, ms. */
const storeRetryMs = 500;

export async function* follow(
  deps: FollowDeps,
  request: FollowRequest,
  call: Pick<OpenCall, "closing" | "onClosing">,
  signal: AbortSignal,
): AsyncGenerator<FollowMessage> {
  const live = await deps.hub.acquire(request.streamId);
  const reader = new Reader(deps, request, live, call, signal);
  try {
    yield* reader.run();
  } finally {
    reader.leave();
    deps.hub.release(live);
  }
}

class Reader {
  readonly #deps: FollowDeps;
  readonly #request: FollowRequest;
  readonly #live: LiveStream;
  readonly #call: Pick<OpenCall, "closing" | "onClosing">;
  readonly #signal: AbortSignal;
  readonly #wakeup = new Wakeup();
  readonly #ring = () => this.#wakeup.ring();
  readonly #filter: ((event: StoredEvent) => boolean) | undefined;
  readonly #stopListening: () => void;
  #scope: Scope | undefined;
  #cursor = 0;
  /** The page after the one that was given last. */
  #ahead: { readonly cursor: number; readonly page: Promise<Page | undefined> } | undefined;
  /** When the last message, and when the last events, were sent. */
  #sentMs: number;
  #eventsSentMs: number;
  #timer: { readonly dueMs: number; readonly cancel: () => void } | undefined;

  constructor(
    deps: FollowDeps,
    request: FollowRequest,
    live: LiveStream,
    call: Pick<OpenCall, "closing" | "onClosing">,
    signal: AbortSignal,
  ) {
    this.#deps = deps;
    this.#request = request;
    this.#live = live;
    this.#call = call;
    this.#signal = signal;
    this.#filter = both(toPredicate(request.filter), request.matches);
    this.#stopListening = call.onClosing(this.#ring);
    signal.addEventListener("abort", this.#ring, { once: true });
    this.#sentMs = this.#eventsSentMs = deps.clock.now();
  }

  async *run(): AsyncGenerator<FollowMessage> {
    const opened = await this.#open();
    yield opened;
    const scope = this.#scope as Scope;
    if (opened.floorOffset > this.#cursor) {
      const gap = this.#passGap(opened.floorOffset);
      if (gap !== undefined) yield gap;
    }
    while (!this.#signal.aborted) {
      if (this.#live.deleted) throw deletedError(this.#request.streamId);
      const { closing } = this.#call;
      if (closing !== undefined) return yield { kind: "closing", ...closing };
      if (scope.finalOffset !== undefined && this.#cursor >= scope.finalOffset) {
        return yield {
          kind: "ended",
          status: scope.status,
          finalOffset: scope.finalOffset,
          taskOutcome: scope.taskOutcome,
        };
      }
      if (this.#cursor < this.#live.window.from - 1) {
        yield* this.#catchUp();
        const due = this.#due();
        if (due !== undefined) yield due;
      } else if (scope.hasAfter(this.#cursor) && !this.#mustPause()) {
        const batch = scope.takeBatch(
          this.#cursor,
          this.#filter,
          limits.batchEntries,
          limits.batchBytes,
          sizeOf,
        );
        this.#cursor = batch.cursor;
        if (batch.events.length > 0) yield this.#events(batch.events);
      } else {
        if (!scope.hasAfter(this.#cursor)) {
          this.#cursor = Math.max(this.#cursor, this.#live.window.tail);
          // A task may end by its workflow's last event, which is not one of its own.
          if (scope.finalOffset !== undefined && this.#cursor >= scope.finalOffset) continue;
        }
        const due = this.#due();
        if (due !== undefined) yield due;
        else if (!this.#idle()) await this.#wait();
        else return yield { kind: "closing", reason: "idle_timeout", reconnectAfterMs: afterIdleMs };
      }
    }
    // Not a plain return: to the caller that would look like a complete stream. The reason says why, a deadline for instance.
    this.#signal.throwIfAborted();
  }

  /** Safe twice. */
  leave(): void {
    this.#stopListening();
    this.#signal.removeEventListener("abort", this.#ring);
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#scope !== undefined) this.#live.leave(this.#scope, this.#wakeup);
    this.#scope = undefined;
  }

  async #open(): Promise<Extract<FollowMessage, { kind: "opened" }>> {
    const { streamId, start, expectedEpoch } = this.#request;
    const state = await this.#deps.store.readScope(streamId, this.#request.scope);
    if (state === undefined) throw deletedError(streamId);
    if (start !== "latest" && start > state.tailOffset) {
      throw new DomainError(
        "out_of_range",
        `after_offset: ${start} is beyond the tail of the stream, which is ${state.tailOffset}; resume with an offset that was received`,
      );
    }
    if (expectedEpoch !== 0 && expectedEpoch !== state.epoch) {
      throw new DomainError(
        "aborted",
        `expected_epoch: the stream's epoch is ${state.epoch}, not ${expectedEpoch}: it was restored or made anew; read from the beginning`,
      );
    }
    this.#scope = await this.#live.join(this.#request.scope, state, this.#wakeup);
    this.#cursor = start === "latest" ? state.tailOffset : start;
    return {
      kind: "opened",
      streamId,
      epoch: state.epoch,
      startOffset: this.#cursor,
      tailOffset: state.tailOffset,
      floorOffset: state.floorOffset,
      finalOffset: state.finalOffset,
    };
  }

  /** A page from the store, up to what the hub knows: beyond that the shape of the tree may be unknown to it. */
  async *#catchUp(): AsyncGenerator<FollowMessage> {
    const page = await this.#nextPage();
    if (page === undefined) return;
    if (page.floorOffset > this.#cursor) {
      const gap = this.#passGap(page.floorOffset);
      if (gap !== undefined) yield gap;
    }
    const { matches } = this.#request;
    const events = page.events.filter(
      (event) => event.offset > this.#cursor && (matches === undefined || matches(event)),
    );
    this.#cursor = Math.max(this.#cursor, page.scannedTo);
    if (events.length === 0) return;
    this.#readAhead();
    yield this.#events(events);
  }

  /** undefined: the database is away; the reader stays, is kept alive, and tries again. */
  async #nextPage(): Promise<Page | undefined> {
    const ahead = this.#ahead?.cursor === this.#cursor ? this.#ahead.page : undefined;
    this.#ahead = undefined;
    let page: Page | undefined;
    try {
      page = await (ahead ?? this.#readPage(this.#cursor));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      const cancel = this.#deps.clock.after(storeRetryMs, this.#ring);
      await this.#wakeup.wait();
      cancel();
      return undefined;
    }
    if (page === undefined) throw deletedError(this.#request.streamId);
    return page;
  }

  /** While one page is on its way to the client the database already reads the next; no more than that one. */
  #readAhead(): void {
    if (this.#cursor >= this.#live.window.from - 1) return;
    const page = this.#readPage(this.#cursor);
    page.catch(() => {}); // whoever takes it hears of it
    this.#ahead = { cursor: this.#cursor, page };
  }

  #readPage(cursor: number): Promise<Page | undefined> {
    return this.#deps.store.readPage({
      streamId: this.#request.streamId,
      scope: this.#request.scope,
      filter: this.#request.filter,
      cursor,
      upTo: this.#live.window.tail,
      descending: false,
      limit: limits.batchEntries,
    });
  }

  /** Declares what was trimmed, up to the floor or the end of the scope. */
  #passGap(floor: number): FollowMessage | undefined {
    const from = this.#cursor + 1;
    const to = Math.min(floor, this.#scope?.finalOffset ?? floor);
    this.#cursor = Math.max(this.#cursor, to);
    return to >= from ? { kind: "gap", from, to } : undefined;
  }

  #events(events: readonly StoredEvent[]): FollowMessage {
    this.#sentMs = this.#eventsSentMs = this.#deps.clock.now();
    return { kind: "events", events };
  }

  /** With a minimum interval, waits for it, unless a terminal event is there: that flushes all before it. */
  #mustPause(): boolean {
    const { minIntervalMs } = this.#request;
    if (minIntervalMs === 0 || this.#scope?.finalOffset !== undefined) return false;
    if (this.#deps.clock.now() - this.#eventsSentMs >= minIntervalMs) return false;
    return this.#scope?.someAfter(this.#cursor, isTerminal) !== true;
  }

  #due(): FollowMessage | undefined {
    const now = this.#deps.clock.now();
    if (now - this.#sentMs < this.#request.heartbeatIntervalMs) return undefined;
    this.#sentMs = now;
    return { kind: "heartbeat", offset: this.#cursor };
  }

  #idle(): boolean {
    const { idleTimeoutMs } = this.#request;
    return idleTimeoutMs > 0 && this.#deps.clock.now() - this.#eventsSentMs >= idleTimeoutMs;
  }

  /** Until something for this reader happens; a timer that is early enough stays, so that a busy reader sets none. */
  async #wait(): Promise<void> {
    const { heartbeatIntervalMs, idleTimeoutMs, minIntervalMs } = this.#request;
    let dueMs = this.#sentMs + heartbeatIntervalMs;
    if (idleTimeoutMs > 0) dueMs = Math.min(dueMs, this.#eventsSentMs + idleTimeoutMs);
    if (minIntervalMs > 0 && this.#scope?.hasAfter(this.#cursor)) {
      dueMs = Math.min(dueMs, this.#eventsSentMs + minIntervalMs);
    }
    if (this.#timer === undefined || this.#timer.dueMs > dueMs) {
      this.#timer?.cancel();
      const cancel = this.#deps.clock.after(Math.max(1, dueMs - this.#deps.clock.now()), () => {
        this.#timer = undefined;
        this.#wakeup.ring();
      });
      this.#timer = { dueMs, cancel };
    }
    await this.#wakeup.wait();
  }
}

const isTerminal = (event: StoredEvent): boolean =>
  isTaskTerminal(event.type) || isWorkflowTerminal(event.type);

function toPredicate({ types, tasks }: EventFilter): ((event: StoredEvent) => boolean) | undefined {
  if (types === undefined && tasks === undefined) return undefined;
  const typeSet = types && new Set(types);
  const taskSet = tasks && new Set(tasks);
  return (event) =>
    (typeSet === undefined || typeSet.has(event.type)) &&
    (taskSet === undefined || taskSet.has(event.taskExecutionId));
}

function both(
  a: ((event: StoredEvent) => boolean) | undefined,
  b: ((event: StoredEvent) => boolean) | undefined,
): ((event: StoredEvent) => boolean) | undefined {
  return a === undefined || b === undefined ? (a ?? b) : (event) => a(event) && b(event);
}

const deletedError = (streamId: string) =>
  new DomainError("not_found", `stream ${streamId} does not exist any more: its workflow tree was deleted`);
