/**
 * Follows a scope of a stream: from a position through the past into the present, until the scope has ended, the call is
 * closed, or the reader leaves. Guarantees: every entry of scope and filter once and in order, or covered by a gap; the
 * last message is `ended` or `closing`.
 *
 * The reader is a cursor: it costs O(1) memory however slow it is. There is no hand-over from past to present: each round
 * takes what lies after the cursor, from the window if it is there, else a page from the store. What is held back (by an
 * interval, for want of credit, until its turn comes) is not taken: it stays where it is, and the position stays before it.
 */
import { type Batch, messageBounds, PlainBatch, type SentEvent, type Test, toTest } from "./batch.ts";
import type { Clock } from "./clock.ts";
import { ConflatedBatch } from "./conflate.ts";
import { DomainError } from "./errors.ts";
import { isTaskTerminal, isWorkflowTerminal, type StoredEvent } from "./event.ts";
import { type Gate, openGate, type Source } from "./gate.ts";
import type { Hub } from "./hub.ts";
import type { LiveStream } from "./live-stream.ts";
import type { Closing, OpenCall } from "./open-call.ts";
import { afterIdleMs, Pace, storeRetryMs } from "./pace.ts";
import { type EventFilter, type EventStore, type Page, type ScopeKey, StoreError } from "./ports.ts";
import type { Scope, ScopeReader } from "./scope.ts";
import type { Sink } from "./sink.ts";
import { Throttle } from "./throttle.ts";
import type { StreamOwner } from "./traffic.ts";
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
  | { readonly kind: "events"; readonly events: readonly SentEvent[] }
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
  readonly owner: StreamOwner;
  readonly scope: ScopeKey;
  readonly filter: EventFilter;
  /** A further filter, of what the store cannot tell. What it leaves out counts neither as an event nor as a message. */
  readonly matches?: ((event: StoredEvent) => boolean) | undefined;
  /** Before the names of fields in errors; absent: nothing. */
  readonly path?: string;
  /** After this offset, or only what comes from now on. */
  readonly start: number | "latest";
  readonly heartbeatIntervalMs: number;
  /** 0: never. Reset by events. */
  readonly idleTimeoutMs: number;
  /** Once live, at most one message in so long; 0: at once. */
  readonly minIntervalMs: number;
  /** Of these types only the newest of what is pending. Absent: all. */
  readonly conflateTypes?: readonly number[];
  /** 0: any. */
  readonly expectedEpoch: number;
}

export interface FollowDeps {
  readonly hub: Pick<Hub, "acquire" | "release">;
  readonly store: Pick<EventStore, "readScope" | "readPage">;
  readonly clock: Clock;
}

/** Pages that are conflated into one message: a reader far behind skips what was replaced, but is not silent for long. */
const pagesConflated = 16;

export async function* follow(
  deps: FollowDeps,
  request: FollowRequest,
  call: Pick<OpenCall, "closing" | "onClosing">,
  signal: AbortSignal,
  gate: Gate = openGate,
  sink?: Sink,
): AsyncGenerator<FollowMessage> {
  const live = await deps.hub.acquire(request.streamId, request.owner);
  const reader = new Reader(deps, request, live, call, signal, gate, sink);
  try {
    yield* reader.run();
  } finally {
    reader.leave();
    deps.hub.release(live);
  }
}

class Reader implements ScopeReader {
  readonly #deps: FollowDeps;
  readonly #request: FollowRequest;
  readonly #live: LiveStream;
  readonly #call: Pick<OpenCall, "closing" | "onClosing">;
  readonly #signal: AbortSignal;
  readonly #wakeup = new Wakeup();
  /** Something for it may have changed. */
  readonly ring = () => {
    if (!this.#isParked || !this.#passOn()) this.#wakeup.ring();
  };
  readonly #gate: Gate;
  readonly #filter: Test | undefined;
  readonly #conflated: ReadonlySet<number> | undefined;
  readonly #throttle: Throttle | undefined;
  readonly #sink: Sink | undefined;
  readonly #stopListening: () => void;
  #scope: Scope | undefined;
  /** Everything up to here was sent or does not concern this reader. */
  #cursor = 0;
  /** The cursor behind which an event is known to wait for credit. */
  #heldAt: number | undefined;
  /** Has it everything, or did it before the interval that it waits for? */
  #caughtUp = false;
  /** The tail when it came: events after it are waited for. */
  #cameAt = 0;
  /** No terminal event that it is to get lies between the cursor and this. */
  #searchedTo = 0;
  /** The page after the one that was given last. */
  #ahead: { readonly cursor: number; readonly page: Promise<Page | undefined> } | undefined;
  readonly #pace: Pace;
  /** It has everything and waits, and what it said has gone out. */
  #isParked = false;
  /** Its sink has no room. */
  #isFull = false;

  constructor(
    deps: FollowDeps,
    request: FollowRequest,
    live: LiveStream,
    call: Pick<OpenCall, "closing" | "onClosing">,
    signal: AbortSignal,
    gate: Gate,
    sink: Sink | undefined,
  ) {
    this.#deps = deps;
    this.#request = request;
    this.#live = live;
    this.#call = call;
    this.#signal = signal;
    this.#gate = gate;
    const { filter, conflateTypes = [], minIntervalMs } = request;
    this.#filter = both(toTest(filter), request.matches);
    if (conflateTypes.length > 0) this.#conflated = new Set(conflateTypes);
    if (minIntervalMs > 0) this.#throttle = new Throttle(deps.clock, minIntervalMs);
    // Slots in time are the loop's.
    this.#sink = this.#throttle === undefined ? sink : undefined;
    if (this.#sink !== undefined) {
      this.#sink.onRoom = () => {
        this.#isFull = false;
        this.ring();
      };
    }
    gate.onChange(this.ring);
    this.#stopListening = call.onClosing(this.ring);
    signal.addEventListener("abort", this.ring, { once: true });
    this.#pace = new Pace(deps.clock, this.#wakeup, request);
  }

  get cursor(): number {
    return this.#cursor;
  }

  async *run(): AsyncGenerator<FollowMessage> {
    const opened = await this.#open();
    yield opened;
    // Who opens it may have had more to say first.
    this.#pace.noteEvents();
    const scope = this.#scope as Scope;
    if (opened.floorOffset > this.#cursor) {
      const gap = this.#passGap(opened.floorOffset);
      if (gap !== undefined) yield gap;
    }
    while (!this.#signal.aborted) {
      if (this.#live.deleted) throw deletedError(this.#request.streamId);
      const { closing } = this.#call;
      if (closing !== undefined) return yield { kind: "closing", ...closing };
      const source = this.#pending(scope);
      if (scope.finalOffset !== undefined && this.#cursor >= scope.finalOffset) {
        return yield {
          kind: "ended",
          status: scope.status,
          finalOffset: scope.finalOffset,
          taskOutcome: scope.taskOutcome,
        };
      }
      const pauseMs = source === undefined ? 0 : this.#pauseMs(scope);
      if (source !== undefined && pauseMs === 0 && !this.#isHeld() && this.#gate.enter(source)) {
        if (source === "store") {
          yield* this.#catchUp();
        } else {
          const events = this.#takeFromWindow(scope);
          if (events.length > 0) yield this.#events(events, "window");
        }
        this.#gate.leave();
        const due = source === "store" ? this.#due() : undefined;
        if (due !== undefined) yield due;
        continue;
      }
      if (source === undefined) this.#gate.leave();
      const due = this.#due();
      if (due !== undefined) yield due;
      else if (source !== undefined || !this.#pace.isIdle) {
        this.#isParked = source === undefined && this.#sink !== undefined;
        await this.#pace.wait(pauseMs > 0 ? pauseMs : undefined, source === undefined);
        this.#isParked = false;
      } else return yield { kind: "closing", reason: "idle_timeout", reconnectAfterMs: afterIdleMs };
    }
    // Not a plain return: to the caller that would look like a complete stream. The reason says why, a deadline for instance.
    this.#signal.throwIfAborted();
  }

  /** Safe twice. */
  leave(): void {
    this.#gate.leave();
    this.#stopListening();
    this.#signal.removeEventListener("abort", this.ring);
    this.#pace.stop();
    this.#sink?.close();
    if (this.#scope !== undefined) this.#live.leave(this.#scope, this);
    this.#scope = undefined;
  }

  async #open(): Promise<Extract<FollowMessage, { kind: "opened" }>> {
    const { streamId, start, expectedEpoch } = this.#request;
    const state = await this.#deps.store.readScope(streamId, this.#request.scope);
    if (state === undefined) throw deletedError(streamId);
    if (start !== "latest" && start > state.tailOffset) {
      throw new DomainError(
        "out_of_range",
        `${this.#request.path ?? ""}after_offset: ${start} is beyond the tail of the stream, which is ${state.tailOffset}; resume with an offset that was received`,
      );
    }
    if (expectedEpoch !== 0 && expectedEpoch !== state.epoch) {
      throw new DomainError(
        "aborted",
        `${this.#request.path ?? ""}expected_epoch: the stream's epoch is ${state.epoch}, not ${expectedEpoch}: it was restored or made anew; read from the beginning`,
      );
    }
    this.#cursor = start === "latest" ? state.tailOffset : start;
    this.#scope = await this.#live.join(this.#request.scope, state, this);
    this.#cameAt = state.tailOffset;
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

  /** Where what is next would come from; undefined: there is nothing, and the cursor says so. */
  #pending(scope: Scope): Source | undefined {
    const { window } = this.#live;
    if (this.#cursor < window.from - 1) return "store";
    this.#caughtUp = true;
    if (scope.hasAfter(this.#cursor)) return "window";
    this.#cursor = Math.max(this.#cursor, window.tail);
    return undefined;
  }

  #takeFromWindow(scope: Scope): readonly SentEvent[] {
    const { credit } = this.#gate;
    const isShared =
      this.#filter === undefined && this.#conflated === undefined && credit >= messageBounds.entries;
    const taken = isShared
      ? scope.takeShared(this.#cursor)
      : scope.take(this.#cursor, this.#newBatch(this.#filter));
    this.#cursor = taken.cursor;
    if (credit === 0 && taken.cursor < taken.tail) this.#heldAt = taken.cursor;
    return taken.events;
  }

  /** Gives the sink what the window has for it. False: there is something else to do, which is the loop's. */
  #passOn(): boolean {
    const scope = this.#scope;
    if (scope === undefined || this.#signal.aborted || this.#live.deleted || this.#call.closing !== undefined)
      return false;
    while (!this.#isFull) {
      const source = this.#pending(scope);
      if (source === undefined) break;
      if (source === "store") return false;
      const events = this.#takeFromWindow(scope);
      if (events.length === 0) continue;
      this.#note(events, source);
      this.#isFull = !(this.#sink as Sink).write(events);
    }
    return scope.finalOffset === undefined || this.#cursor < scope.finalOffset;
  }

  #newBatch(filter: Test | undefined): Batch {
    const bounds = { ...messageBounds, entries: Math.min(messageBounds.entries, this.#gate.credit) };
    return this.#conflated === undefined
      ? new PlainBatch(filter, bounds)
      : new ConflatedBatch(this.#conflated, filter, bounds);
  }

  /** From the store, up to what the hub knows: beyond that the shape of the tree may be unknown to it. */
  async *#catchUp(): AsyncGenerator<FollowMessage> {
    const page = await this.#nextPage();
    if (page === undefined) return;
    if (page.floorOffset > this.#cursor) {
      const gap = this.#passGap(page.floorOffset);
      if (gap !== undefined) yield gap;
    }
    const events = await this.#takeFromPage(page);
    if (events.length === 0) return;
    this.#caughtUp = false;
    // First, so that the database reads the next page while this one is encoded and written.
    this.#readAhead();
    await this.#live.writeTurns.take(this.#signal);
    if (this.#signal.aborted) return;
    yield this.#events(events, "store");
  }

  async #takeFromPage(page: Page): Promise<readonly SentEvent[]> {
    if (this.#gate.credit === 0) {
      const { matches = () => true } = this.#request;
      const first = page.events.find((event) => event.offset > this.#cursor && matches(event));
      this.#cursor = Math.max(this.#cursor, first === undefined ? page.scannedTo : first.offset - 1);
      if (first !== undefined) this.#heldAt = this.#cursor;
      return [];
    }
    if (this.#conflated !== undefined) return this.#conflatePages(page);
    const { matches } = this.#request;
    const [first] = page.events;
    // As it is, so that its message is made once for all who share the page.
    const isWhole = matches === undefined && (first === undefined || first.offset > this.#cursor);
    const events = isWhole
      ? page.events
      : page.events.filter(
          (event) => event.offset > this.#cursor && (matches === undefined || matches(event)),
        );
    this.#cursor = Math.max(this.#cursor, page.scannedTo);
    return events;
  }

  /** Goes on with the next pages while what is kept of them fits into the message. */
  async #conflatePages(first: Page): Promise<readonly SentEvent[]> {
    const batch = this.#newBatch(this.#request.matches);
    let page: Page | undefined = first;
    for (let pages = 1; ; pages++) {
      for (const event of page.events) {
        if (event.offset <= this.#cursor) continue;
        if (!batch.offer(event)) return batch.events;
        this.#cursor = event.offset;
      }
      this.#cursor = Math.max(this.#cursor, page.scannedTo);
      if (pages >= pagesConflated || this.#cursor >= this.#live.window.from - 1) break;
      if (this.#signal.aborted || this.#call.closing !== undefined) break;
      page = await this.#nextPage();
      // A gap is declared between messages: that page is read again.
      if (page === undefined || page.floorOffset > this.#cursor) break;
    }
    return batch.events;
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
      this.#gate.leave();
      await this.#pace.wait(storeRetryMs, false);
      return undefined;
    }
    if (page === undefined) throw deletedError(this.#request.streamId);
    return page;
  }

  /** While one page is on its way to the client the database already reads the next; no more than that one. */
  #readAhead(): void {
    if (this.#gate !== openGate || this.#cursor >= this.#live.window.from - 1) return;
    const page = this.#readPage(this.#cursor);
    page.catch(() => {}); // whoever takes it hears of it
    this.#ahead = { cursor: this.#cursor, page };
  }

  #readPage(cursor: number): Promise<Page | undefined> {
    const { credit } = this.#gate;
    this.#live.traffic.readsStore();
    // Without credit one tells whether there is something; what is conflated may be many for each that is sent.
    const entries = credit > 0 && this.#conflated !== undefined ? messageBounds.entries : Math.max(1, credit);
    return this.#live.pages.read({
      streamId: this.#request.streamId,
      scope: this.#request.scope,
      filter: this.#request.filter,
      cursor,
      upTo: this.#live.window.tail,
      descending: false,
      limit: Math.min(messageBounds.entries, entries),
    });
  }

  /** Declares what was trimmed, up to the floor or the end of the scope. */
  #passGap(floor: number): FollowMessage | undefined {
    const from = this.#cursor + 1;
    const to = Math.min(floor, this.#scope?.finalOffset ?? floor);
    this.#cursor = Math.max(this.#cursor, to);
    return to >= from ? { kind: "gap", from, to } : undefined;
  }

  #events(events: readonly SentEvent[], from: Source): FollowMessage {
    this.#note(events, from);
    return { kind: "events", events };
  }

  /** They are on their way. */
  #note(events: readonly SentEvent[], from: Source): void {
    this.#pace.noteEvents();
    this.#throttle?.sent();
    this.#gate.spend(events.length);
    const { traffic } = this.#live;
    const oldest = events[0] as SentEvent;
    const isLive = oldest.offset > this.#cameAt;
    if (isLive && from === "window") this.#live.writeTurns.noteLive();
    traffic.sent({
      events: events.length,
      ...(this.#conflated === undefined ? noStandIns : countStandIns(events)),
      from,
      oldestMs: isLive ? oldest.recordedMs : undefined,
    });
    traffic.saw(events.at(-1));
  }

  /** What waits for credit? Then nobody need look again. */
  #isHeld(): boolean {
    return this.#gate.credit === 0 && this.#heldAt === this.#cursor;
  }

  /** Once live it waits for its interval, unless a terminal event is there: that flushes all before it. */
  #pauseMs(scope: Scope): number {
    if (this.#throttle === undefined || !this.#caughtUp || scope.finalOffset !== undefined) return 0;
    const { waitMs } = this.#throttle;
    return waitMs > 0 && this.#isTerminalPending(scope) ? 0 : waitMs;
  }

  #isTerminalPending(scope: Scope): boolean {
    const from = Math.max(this.#cursor, this.#searchedTo);
    const { window } = this.#live;
    if (from < window.from - 1) return true; // gone before it was seen: it may have been one
    const isFlush: Test = (event) => isTerminal(event) && this.#filter?.(event) !== false;
    if (scope.someAfter(from, isFlush)) return true;
    this.#searchedTo = window.tail;
    return false;
  }

  #due(): FollowMessage | undefined {
    return this.#pace.takeBeat() ? { kind: "heartbeat", offset: this.#cursor } : undefined;
  }
}

const noStandIns = { conflated: 0, replaced: 0 };

function countStandIns(events: readonly SentEvent[]): typeof noStandIns {
  const counted = { conflated: 0, replaced: 0 };
  for (const { replaced } of events) {
    if (replaced === undefined) continue;
    counted.conflated++;
    counted.replaced += replaced;
  }
  return counted;
}

const isTerminal = (event: StoredEvent): boolean =>
  isTaskTerminal(event.type) || isWorkflowTerminal(event.type);

function both(a: Test | undefined, b: Test | undefined): Test | undefined {
  return a === undefined || b === undefined ? (a ?? b) : (event) => a(event) && b(event);
}

const deletedError = (streamId: string) =>
  new DomainError("not_found", `stream ${streamId} does not exist any more: its workflow tree was deleted`);
