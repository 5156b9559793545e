/**
 * Recalls observations of a space: the best matches of a snapshot, then, if asked, every match after it.
 *
 * Guarantees: the snapshot part holds nothing after its offset, which is the tail when the recall began or the one that was
 * asked for; with follow each later match comes once, in order, or is covered by a gap. Since commit order is offset order,
 * nothing falls between the two: both are queries on a range of offsets, and what matches is decided by Postgres alone.
 */
import type { Access } from "../access.ts";
import type { Clock } from "../clock.ts";
import { DomainError } from "../errors.ts";
import { payloadSize } from "../event.ts";
import type { Hub } from "../hub.ts";
import { limits } from "../limits.ts";
import type { LiveStream } from "../live-stream.ts";
import type { CallOwner, Closing, OpenCall, OpenCalls } from "../open-call.ts";
import { afterIdleMs, Pace, storeRetryMs } from "../pace.ts";
import { type EventStore, type ScopeKey, type ScopeState, StoreError } from "../ports.ts";
import type { Scope, ScopeReader } from "../scope.ts";
import { Wakeup } from "../wakeup.ts";
import type { Cue, MatchPage, MemoryStore, Observation, Ranked } from "./memory-store.ts";
import type { Spaces } from "./spaces.ts";

export interface RecallDeps {
  readonly spaces: Spaces;
  readonly memory: MemoryStore;
  readonly store: Pick<EventStore, "readScope">;
  readonly hub: Pick<Hub, "acquire" | "release">;
  readonly calls: OpenCalls;
  readonly clock: Clock;
  /** ms by the database's clock. */
  readonly databaseNow: () => number;
}

export interface RecallRequest {
  /** "": `default`. */
  readonly space: string;
  readonly cue: Cue | undefined;
  /** 0: 100. */
  readonly maxResults: number;
  readonly minScore: number;
  readonly isolated: boolean;
  /** 0: the tail. */
  readonly snapshotOffset: number;
  readonly follow: boolean;
  /** No snapshot, follow from here; undefined: with a snapshot. */
  readonly afterOffset: number | undefined;
  /** 0: the default. */
  readonly heartbeatIntervalMs: number;
  /** 0: never. Reset by matches. */
  readonly idleTimeoutMs: number;
  /** 0: any. */
  readonly expectedEpoch: number;
}

export interface Match {
  readonly observation: Observation;
  readonly score: number;
}

export type RecallMessage =
  | {
      readonly kind: "opened";
      readonly streamId: string;
      readonly epoch: number;
      readonly startOffset: number;
      readonly tailOffset: number;
      readonly floorOffset: number;
    }
  | { readonly kind: "results"; readonly matches: readonly Match[]; readonly more: boolean }
  | { readonly kind: "snapshot_complete"; readonly snapshotOffset: number; readonly results: number }
  | { readonly kind: "heartbeat"; readonly offset: number }
  | { readonly kind: "gap"; readonly from: number; readonly to: number }
  | ({ readonly kind: "closing" } & Closing);

const wholeSpace: ScopeKey = { kind: "tree", workflowId: "" };

/** The first message is `opened`; what is wrong with the request is thrown before it. */
export async function* recall(
  deps: RecallDeps,
  access: Access,
  owner: CallOwner,
  request: RecallRequest,
  signal: AbortSignal,
): AsyncGenerator<RecallMessage> {
  const cue = await checked(deps, request);
  const { streamId, tenant, space } = await deps.spaces.require(access, request.space);
  const streamOwner = { tenant, rootWorkflowId: undefined, space };
  const call = await deps.calls.openReader(owner);
  try {
    // Live before the tail is read, so that nothing falls between.
    const live = request.follow ? await deps.hub.acquire(streamId, streamOwner) : undefined;
    const reader = new Recall(deps, request, cue, streamId, live, call, signal);
    try {
      yield* reader.run();
    } finally {
      reader.leave();
      if (live !== undefined) deps.hub.release(live);
    }
  } finally {
    call.end();
  }
}

async function checked(deps: RecallDeps, request: RecallRequest): Promise<Cue> {
  const { cue } = request;
  if (cue === undefined) throw invalid("cue: none is set; give text, time_range or session_id");
  if (request.snapshotOffset > 0 && !request.isolated) {
    throw invalid(
      `snapshot_offset: ${request.snapshotOffset} without snapshot_isolation; set snapshot_isolation, or leave the offset out`,
    );
  }
  if (request.afterOffset !== undefined && !request.follow) {
    throw invalid(
      `options.after_offset: ${request.afterOffset} without follow, so that there is nothing to send; set follow, or leave the offset out`,
    );
  }
  if (cue.kind === "time" && cue.toMs !== 0 && cue.fromMs > cue.toMs) {
    throw invalid(`cue.time_range: from_ms ${cue.fromMs} is after to_ms ${cue.toMs}; swap them`);
  }
  if (cue.kind !== "text") return cue;
  const size = payloadSize(cue.text);
  if (size > limits.cueBytes) {
    throw invalid(`cue.text: must not exceed ${limits.cueBytes} bytes, found ${size}; ask for fewer words`);
  }
  if (!(await deps.memory.hasWords(cue.text))) {
    throw invalid(
      `cue.text: ${JSON.stringify(cue.text.slice(0, 80))} holds no word to look for; give a word, or recall by time_range or session_id`,
    );
  }
  return cue;
}

class Recall implements ScopeReader {
  readonly #deps: RecallDeps;
  readonly #request: RecallRequest;
  readonly #cue: Cue;
  readonly #streamId: string;
  /** With follow. */
  readonly #live: LiveStream | undefined;
  readonly #call: OpenCall;
  readonly #signal: AbortSignal;
  readonly #wakeup = new Wakeup();
  /** Something for it may have changed. */
  readonly ring = () => this.#wakeup.ring();
  readonly #stopListening: () => void;
  #scope: Scope | undefined;
  #cursor = 0;
  /** The tail when it came: matches after it are waited for. */
  #cameAt = 0;
  readonly #pace: Pace;

  constructor(
    deps: RecallDeps,
    request: RecallRequest,
    cue: Cue,
    streamId: string,
    live: LiveStream | undefined,
    call: OpenCall,
    signal: AbortSignal,
  ) {
    this.#deps = deps;
    this.#request = request;
    this.#cue = cue;
    this.#streamId = streamId;
    this.#live = live;
    this.#call = call;
    this.#signal = signal;
    this.#stopListening = call.onClosing(this.ring);
    signal.addEventListener("abort", this.ring, { once: true });
    this.#pace = new Pace(deps.clock, this.#wakeup, request);
  }

  get cursor(): number {
    return this.#cursor;
  }

  async *run(): AsyncGenerator<RecallMessage> {
    const state = await this.#open();
    const { epoch, tailOffset, floorOffset } = state;
    const startOffset = this.#cursor;
    yield { kind: "opened", streamId: this.#streamId, epoch, startOffset, tailOffset, floorOffset };
    if (this.#request.afterOffset === undefined) {
      if (yield* this.#snapshot()) return;
    }
    if (this.#live !== undefined) yield* this.#follow(this.#live);
  }

  /** Safe twice. */
  leave(): void {
    this.#pace.stop();
    this.#stopListening();
    this.#signal.removeEventListener("abort", this.ring);
    if (this.#scope !== undefined) this.#live?.leave(this.#scope, this);
    this.#scope = undefined;
  }

  async #open(): Promise<ScopeState> {
    const { afterOffset, snapshotOffset, expectedEpoch } = this.#request;
    const state = await this.#deps.store.readScope(this.#streamId, wholeSpace);
    if (state === undefined) throw goneError(this.#streamId);
    if (expectedEpoch !== 0 && expectedEpoch !== state.epoch) {
      throw new DomainError(
        "aborted",
        `expected_epoch: the stream's epoch is ${state.epoch}, not ${expectedEpoch}: it was restored; recall anew`,
      );
    }
    const [field, asked] =
      afterOffset === undefined
        ? ["snapshot_offset", snapshotOffset || state.tailOffset]
        : ["after_offset", afterOffset];
    if (asked > state.tailOffset) {
      throw new DomainError(
        "out_of_range",
        `${field}: ${asked} is beyond the tail of the space, which is ${state.tailOffset}; use an offset that was received`,
      );
    }
    this.#cursor = asked;
    this.#scope = await this.#live?.join(wholeSpace, state, this);
    this.#cameAt = state.tailOffset;
    return state;
  }

  /** Ranks once, then reads contents batch by batch: a slow reader holds ranks, not contents. True: the call is closed. */
  async *#snapshot(): AsyncGenerator<RecallMessage, boolean> {
    const { maxResults, minScore } = this.#request;
    const ranked = await this.#deps.memory.rank({
      streamId: this.#streamId,
      cue: this.#cue,
      upTo: this.#cursor,
      limit: maxResults || 100,
      minScore,
      nowMs: this.#deps.databaseNow(),
    });
    let results = 0;
    let at = 0;
    while (at < ranked.length) {
      this.#signal.throwIfAborted();
      if (this.#call.closing !== undefined) {
        yield { kind: "closing", ...this.#call.closing };
        return true;
      }
      const batch = firstBatch(ranked, at);
      at += batch.length;
      const matches = await this.#read(batch);
      if (matches.length === 0) continue;
      results += matches.length;
      yield this.#matches(matches, at < ranked.length);
    }
    yield { kind: "snapshot_complete", snapshotOffset: this.#cursor, results };
    return false;
  }

  /** In the order of the ranks; what retention has removed meanwhile is left out. */
  async #read(batch: readonly Ranked[]): Promise<readonly Match[]> {
    const found = await this.#deps.memory.readObservations(
      this.#streamId,
      batch.map(({ offset }) => offset),
    );
    const byOffset = new Map(found.map((observation) => [observation.offset, observation]));
    return batch.flatMap(({ offset, score }) => {
      const observation = byOffset.get(offset);
      return observation === undefined ? [] : [{ observation, score }];
    });
  }

  async *#follow(live: LiveStream): AsyncGenerator<RecallMessage> {
    while (!this.#signal.aborted) {
      if (live.deleted) throw goneError(this.#streamId);
      const { closing } = this.#call;
      if (closing !== undefined) return yield { kind: "closing", ...closing };
      if (this.#cursor < live.window.tail) {
        live.traffic.readsStore();
        const page = await this.#nextPage(live.window.tail);
        if (page !== undefined) yield* this.#take(page, live);
      } else if (this.#pace.isIdle) {
        return yield { kind: "closing", reason: "idle_timeout", reconnectAfterMs: afterIdleMs };
      } else await this.#pace.wait();
      if (this.#pace.takeBeat()) yield { kind: "heartbeat", offset: this.#cursor };
    }
    this.#signal.throwIfAborted();
  }

  *#take(page: MatchPage, live: LiveStream): Generator<RecallMessage> {
    if (page.floorOffset > this.#cursor) {
      const from = this.#cursor + 1;
      this.#cursor = page.floorOffset;
      yield { kind: "gap", from, to: page.floorOffset };
    }
    const matches = page.matches.filter(({ observation }) => observation.offset > this.#cursor);
    this.#cursor = Math.max(this.#cursor, page.scannedTo);
    if (matches.length === 0) return;
    const oldest = (matches[0] as Match).observation;
    live.traffic.sent({
      events: matches.length,
      conflated: 0,
      replaced: 0,
      from: "store",
      oldestMs: oldest.offset > this.#cameAt ? oldest.recordedMs : undefined,
    });
    live.traffic.saw(matches.at(-1)?.observation);
    yield this.#matches(matches, false);
  }

  /** undefined: the database is away; the reader stays, is kept alive, and tries again. */
  async #nextPage(tail: number): Promise<MatchPage | undefined> {
    const now = this.#deps.databaseNow();
    let page: MatchPage | undefined;
    try {
      page = await this.#deps.memory.readMatches(this.#streamId, this.#cue, this.#cursor, tail, now);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      await this.#pace.wait(storeRetryMs, false);
      return undefined;
    }
    if (page === undefined) throw goneError(this.#streamId);
    return page;
  }

  #matches(matches: readonly Match[], more: boolean): RecallMessage {
    this.#pace.noteEvents();
    return { kind: "results", matches, more };
  }
}

/** The ranks from `at` on that fit into one message; one larger may stand alone. */
function firstBatch(ranked: readonly Ranked[], at: number): readonly Ranked[] {
  let bytes = 0;
  let end = at;
  for (; end < ranked.length && end - at < limits.batchEntries; end++) {
    bytes += (ranked[end] as Ranked).bytes;
    if (end > at && bytes > limits.batchBytes) break;
  }
  return ranked.slice(at, end);
}

const invalid = (message: string) => new DomainError("invalid_argument", message);

const goneError = (streamId: string) =>
  new DomainError("not_found", `stream ${streamId} does not exist any more: its space was deleted`);
