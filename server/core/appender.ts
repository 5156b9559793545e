/**
 * Group commit. While a commit is in flight, what arrives waits in the lanes; then all that waits, up to 1,000 entries or
 * 2 MiB, goes into the next. No timer: an idle server commits one event at once, a busy one hundreds together.
 *
 * A commit costs most of what it costs whatever it holds, so a second one goes beside the first only if a whole group waits, or
 * if the first has taken long: what came too late for a group that waits for a locked stream, or for a slow disk, goes beside it.
 * What shares a group with a locked stream waits for one lock_timeout, and then for nobody: the streams of that group go on
 * each by itself. Commits at the same time have different streams (docs/decisions/0022-commits-as-needed.md).
 *
 * Guarantees: commands of one stream are stored in the order of acceptance; each gets its own result, after the commit;
 * a command that Postgres refuses fails alone (the group is bisected); a stream whose lock somebody holds is set aside;
 * while the database is away commands wait as long as their patience; when the connection broke in the commit, only
 * commands that cannot be stored twice are sent again.
 */

import type { Clock } from "./clock.ts";
import type { AppendEntries, Chain, Command, CommandResult, EntriesResult, Lane } from "./command.ts";
import { passedType } from "./command.ts";
import { DrainRate } from "./drain-rate.ts";
import { DomainError } from "./errors.ts";
import { sizeOf } from "./event.ts";
import { isImpatient, Lanes, type Offer, type Queued } from "./lanes.ts";
import { type Bus, type EventStore, type GroupResult, StoreError } from "./ports.ts";
import { toFinalRejection } from "./session/rejection.ts";
import { type CommitBegin, mostLinks, type Tracing } from "./tracing.ts";
import type { Traffic } from "./traffic.ts";
import { Wakeup } from "./wakeup.ts";

export interface AppenderDeps {
  readonly store: Pick<EventStore, "append">;
  readonly bus: Pick<Bus, "publish">;
  readonly traffic: Traffic;
  readonly clock: Clock;
  /** 0 ≤ n < 1; for jitter. */
  readonly random: () => number;
  /** Absent: nobody traces. */
  readonly tracing?: Tracing | undefined;
  /** Absent: nobody is told. */
  readonly slowCommits?: { readonly fromMs: number; readonly tell: (commit: SlowCommit) => void } | undefined;
  /** Told of failures; not of a single command's own. */
  readonly onFailure: (message: string, error: Error) => void;
}

/** A group commit that took long. */
export interface SlowCommit {
  readonly tookMs: number;
  /** How long the oldest of it had waited before, ms. */
  readonly waitedMs: number;
  readonly commands: number;
  readonly entries: number;
  readonly bytes: number;
  readonly streams: number;
  /** One of them, and whose it is. */
  readonly streamId: string;
  readonly tenant: string;
  /** Why nothing was stored; undefined: it was. */
  readonly failure: string | undefined;
}

/** Waits between tries while the database is away, ms: doubling, with jitter. */
const backoffMs = { first: 50, most: 2000 };

/** How long a locked stream is set aside, ms: each try costs a connection a lock_timeout of 2 s. */
const holdMs = { first: 100, most: 4000 };

const awayText = "the database cannot be reached; nothing was stored; try again";
const uncertainText =
  "the connection to the database broke during the commit: the entries may or may not be stored. With a producer_id and rising sequences a repetition is safe.";

/** A set of variables may be in doubt too: it is not sent again, since that would be another change. */
const doubtText = ({ command }: Queued) =>
  command.kind === "entries"
    ? uncertainText
    : "the connection to the database broke during the commit: it may or may not be stored. Read the state, then decide; with an expected_version a repetition is safe.";

/** A commit that takes longer does not keep what waits for it from going beside it, ms. */
const patienceMs = 5;

/** A stop waits so long for a commit that is under way, ms. */
const lastCommitMs = 2000;

export type Submission =
  | { readonly offer: "queued"; readonly result: Promise<CommandResult> }
  | { readonly offer: Exclude<Offer, "queued"> };

export class Appender {
  readonly lanes: Lanes;
  /** Where this instance counts what becomes of entries. */
  readonly traffic: Traffic;
  readonly #deps: AppenderDeps;
  /** Connections without a commit; the last one is used next. */
  readonly #free: number[];
  readonly #underWay = new Set<Promise<void>>();
  #lastBeganMs = Number.NEGATIVE_INFINITY;
  #isRung = false;
  #cancelLook = () => {};
  #lookMs = Number.POSITIVE_INFINITY;
  readonly #drainRate = new DrainRate();
  readonly #holds = new Map<string, number>();
  /** Commands that may have been stored by a commit whose connection broke. */
  readonly #uncertain = new WeakSet<Queued>();
  #stopped = false;
  #awayReason: string | undefined;
  readonly #waitListeners = new Set<() => void>();

  constructor(deps: AppenderDeps, options: { readonly commitConnections: number }) {
    this.#deps = deps;
    this.traffic = deps.traffic;
    this.lanes = new Lanes(deps.clock.now);
    this.#free = Array.from({ length: options.commitConnections }, (_, i) => i).reverse();
  }

  /** Puts a command into its lane. */
  submit(command: Command): Submission {
    const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
    const offer = this.lanes.offer(command, (outcome) => {
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    });
    if (offer !== "queued") return { offer };
    this.#ring();
    return { offer, result: promise };
  }

  /** As `submit`, but waits for room; undefined: the signal came first. */
  async submitWhenRoom(command: Command, signal: AbortSignal): Promise<Submission | undefined> {
    // Nearly always there is room: nobody has to listen for it.
    if (signal.aborted) return undefined;
    const atOnce = this.submit(command);
    if (atOnce.offer !== "full") return atOnce;
    const bell = new Wakeup();
    const stopListening = this.lanes.onSpace(() => bell.ring());
    const onAbort = () => bell.ring();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      for (;;) {
        if (signal.aborted) return undefined;
        const submission = this.submit(command);
        if (submission.offer !== "full") return submission;
        await bell.wait();
      }
    } finally {
      stopListening();
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** When to try again after "full", ms. */
  retryHintMs(lane: Lane): number {
    return this.#drainRate.hintMs(this.lanes.usage.read(lane).entries / 2);
  }

  /** Why nothing can be stored right now; undefined: as far as known it can. */
  get awayReason(): string | undefined {
    return this.#awayReason;
  }

  /** Why entries of this stream wait longer than others; undefined: as far as known they do not. */
  waitReason(streamId: string): string | undefined {
    return (
      this.#awayReason ?? (this.#holds.has(streamId) ? "the stream is locked by somebody else" : undefined)
    );
  }

  /** Called when `awayReason`, or the `waitReason` of a stream, comes or goes. Returns how to stop it. */
  onWaitChange(listener: () => void): () => void {
    this.#waitListeners.add(listener);
    return () => this.#waitListeners.delete(listener);
  }

  #tellWaiting(): void {
    for (const listener of this.#waitListeners) listener();
  }

  #setAway(reason: string | undefined): void {
    const changed = (this.#awayReason === undefined) !== (reason === undefined);
    this.#awayReason = reason;
    if (changed) this.#tellWaiting();
  }

  /** Gives up what waits of a chain; it is settled as skipped, at once unless a commit is under way with it. */
  discard(chain: Chain, streamId: string): void {
    chain.broken = true;
    const out = this.lanes.takeOut(
      ({ command }) => command.kind === "entries" && command.chain === chain,
      streamId,
    );
    this.#dropBroken(out);
  }

  /** Takes nothing more, stores what waits (at most until the signal), then ends. */
  async close(signal: AbortSignal): Promise<void> {
    this.lanes.close();
    const bell = new Wakeup();
    const stopListening = this.lanes.onSpace(() => bell.ring());
    signal.addEventListener("abort", () => bell.ring(), { once: true });
    while (this.lanes.waiting > 0 && !signal.aborted) await bell.wait();
    stopListening();
    this.#stopped = true;
    this.#cancelLook();
    // A silent database must not hold up a stop.
    await Promise.race([
      Promise.all(this.#underWay),
      new Promise<void>((resolve) => {
        this.#deps.clock.after(lastCommitMs, resolve);
      }),
    ]);
    for (const item of this.lanes.takeOut(() => true)) {
      settle(
        item,
        new DomainError(
          "unavailable",
          "this server stopped before it could store this; send it to another one",
        ),
      );
    }
  }

  /** Looks what there is to do, after what comes in this step. */
  #ring(): void {
    if (this.#isRung) return;
    this.#isRung = true;
    queueMicrotask(() => {
      this.#isRung = false;
      this.#begin();
    });
  }

  /** Begins the commits that are due. */
  #begin(): void {
    while (!this.#stopped && this.#free.length > 0 && this.lanes.hasReady) {
      const now = this.#deps.clock.now();
      const dueMs = this.#lastBeganMs + patienceMs;
      if (this.#underWay.size > 0 && !this.lanes.hasFullGroup && now < dueMs) {
        this.#lookAt(dueMs);
        return;
      }
      const group = this.lanes.take();
      if (group.length === 0) {
        this.#lookAt(this.lanes.nextReleaseMs());
        return;
      }
      this.#lastBeganMs = now;
      const commit = this.#commitGroup(this.#free.pop() as number, group);
      this.#underWay.add(commit);
      void commit.then(() => {
        this.#underWay.delete(commit);
        this.#begin();
      });
    }
  }

  /** Looks again then, at the latest. */
  #lookAt(ms: number | undefined): void {
    if (ms === undefined || ms >= this.#lookMs) return;
    this.#cancelLook();
    this.#lookMs = ms;
    this.#cancelLook = this.#deps.clock.after(Math.max(1, ms - this.#deps.clock.now()), () => {
      this.#lookMs = Number.POSITIVE_INFINITY;
      this.#begin();
    });
  }

  async #commitGroup(connection: number, group: readonly Queued[]): Promise<void> {
    const held: Held = { items: [], locked: new Set() };
    await this.#commit(connection, group, held);
    this.#hold(held);
    this.lanes.release(group);
    this.#free.push(connection);
  }

  /** Stores the group whatever it takes; every command of it is settled or, in order, in `held` afterwards. */
  async #commit(connection: number, group: readonly Queued[], held: Held): Promise<void> {
    let waiting = this.#dropBroken(group);
    if (held.items.length > 0) {
      const streams = new Set(held.items.map((item) => item.command.streamId));
      held.items.push(...waiting.filter((item) => streams.has(item.command.streamId)));
      waiting = waiting.filter((item) => !streams.has(item.command.streamId));
    }
    for (let attempt = 0; waiting.length > 0; attempt++) {
      let stored: GroupResult;
      const span = this.#deps.tracing?.commit(this.#describe(waiting));
      const beganMs = performance.now();
      try {
        stored = await this.#deps.store.append(
          connection,
          waiting.map((item) => item.command),
        );
      } catch (error) {
        const failure =
          error instanceof StoreError ? error : new StoreError("poisoned", String(error), error);
        this.traffic.counts.commitFailures[failure.failure]++;
        span?.end(failure.failure);
        this.#noteSlow(waiting, performance.now() - beganMs, failure.failure);
        if (failure.failure === "away" || failure.failure === "unknown") {
          waiting = await this.#waitForDatabase(waiting, failure, attempt);
          continue;
        }
        if (failure.failure === "busy") {
          // Of several one is locked: to find it by halves would cost all of them a lock_timeout for each half.
          held.items.push(...waiting);
          const [streamId, ...others] = new Set(waiting.map((item) => item.command.streamId));
          if (streamId === undefined || others.length > 0) return;
          held.locked.add(streamId);
          this.#deps.onFailure(`stream ${streamId} is locked by somebody; it is set aside`, failure);
        } else if (waiting.length > 1) {
          const middle = waiting.length >> 1;
          await this.#commit(connection, waiting.slice(0, middle), held);
          await this.#commit(connection, waiting.slice(middle), held);
        } else if (failure.failure === "poisoned" && isOfSession(waiting[0])) {
          this.#deps.onFailure("an entry of a session could not be stored", failure);
          await this.#commit(connection, splitPoisoned(waiting[0]), held);
        } else {
          this.#deps.onFailure("a command could not be stored", failure);
          for (const item of waiting) settle(item, failure);
        }
        return;
      }
      const tookMs = performance.now() - beganMs;
      span?.end(undefined);
      this.#noteSlow(waiting, tookMs, undefined);
      this.traffic.measures.observe("commitSeconds", tookMs / 1000);
      this.#settleStored(waiting, stored);
      return;
    }
  }

  /** What a group is about: in numbers, and the calls it came by. */
  #describe(group: readonly Queued[]): CommitBegin {
    const calls = new Set<string>();
    const streams = new Set<string>();
    let [entries, bytes, oldestMs] = [0, 0, Number.POSITIVE_INFINITY];
    for (const { command, queuedMs } of group) {
      streams.add(command.streamId);
      entries += command.entries;
      bytes += command.bytes;
      oldestMs = Math.min(oldestMs, queuedMs);
      if (command.kind === "entries" && command.trace !== undefined && calls.size < mostLinks) {
        calls.add(command.trace);
      }
    }
    const waitedMs = Math.max(0, this.#deps.clock.now() - oldestMs);
    return { commands: group.length, streams: streams.size, entries, bytes, waitedMs, calls: [...calls] };
  }

  #noteSlow(group: readonly Queued[], tookMs: number, failure: string | undefined): void {
    const { slowCommits } = this.#deps;
    const [first] = group;
    if (slowCommits === undefined || tookMs < slowCommits.fromMs || first === undefined) return;
    const { calls: _, waitedMs, ...about } = this.#describe(group);
    const { streamId, tenant } = first.command;
    slowCommits.tell({
      ...about,
      tookMs,
      waitedMs: Math.max(0, waitedMs - tookMs),
      streamId,
      tenant,
      failure,
    });
  }

  /** Outside the try: what goes wrong after the commit must not be taken for "nothing was stored". */
  #settleStored(stored: readonly Queued[], { results, notices }: GroupResult): void {
    this.#setAway(undefined);
    for (const notice of notices) {
      try {
        this.#deps.bus.publish(notice);
      } catch (error) {
        this.#deps.onFailure("a notice could not be published; the tail check will tell", error as Error);
      }
    }
    const tenants = new Map<string, string>();
    let entries = 0;
    for (const [i, item] of stored.entries()) {
      this.lanes.clearSuspicion(item.command.streamId);
      if (this.#holds.delete(item.command.streamId)) this.#tellWaiting();
      entries += item.command.entries;
      tenants.set(item.command.streamId, item.command.tenant);
      const result = results[i] as CommandResult;
      // No notice: nobody can wait for one of a stream that begins with it.
      if (isNewRoot(item.command, result)) this.traffic.stored(item.command.tenant, 1);
      settle(item, result);
    }
    for (const { streamId, from, to } of notices) {
      const tenant = tenants.get(streamId);
      if (tenant !== undefined) this.traffic.stored(tenant, to - from + 1);
    }
    this.traffic.measures.observe("commitEntries", entries);
    this.#drainRate.note(entries, this.#deps.clock.now());
  }

  /**
   * What could not be locked goes back. Streams whose lock somebody holds wait longer each time; those that only shared a group
   * with one go on at once, each by itself.
   */
  #hold(held: Held): void {
    const now = this.#deps.clock.now();
    const byStream = Map.groupBy(this.#dropBroken(held.items), (item) => item.command.streamId);
    for (const [streamId, items] of byStream) {
      if (!held.locked.has(streamId)) {
        this.lanes.putBack(items, now);
        continue;
      }
      const times = this.#holds.get(streamId) ?? 0;
      this.#holds.set(streamId, times + 1);
      if (times === 0) this.#tellWaiting();
      for (const item of items.filter((candidate) => isImpatient(candidate, now))) {
        settle(
          item,
          new DomainError(
            "unavailable",
            "the stream is locked by somebody else; nothing was stored; try again",
          ),
        );
      }
      const delay = Math.min(holdMs.most, holdMs.first * 2 ** times) * (0.5 + this.#deps.random() / 2);
      const patient = items.filter((item) => !isImpatient(item, now));
      this.lanes.putBack(patient, now + delay);
      // Nothing waits for the lock any more: nobody would learn that it is free.
      if (patient.length === 0 && this.#holds.delete(streamId)) this.#tellWaiting();
    }
  }

  async #waitForDatabase(
    waiting: readonly Queued[],
    failure: StoreError,
    attempt: number,
  ): Promise<readonly Queued[]> {
    if (this.#awayReason === undefined) this.#deps.onFailure("the database is away; commands wait", failure);
    this.#setAway(failure.message);
    let stay = waiting;
    if (failure.failure === "unknown") {
      stay = waiting.filter((item) => item.command.idempotent);
      for (const item of waiting) {
        if (item.command.idempotent) this.#uncertain.add(item);
        else settle(item, new DomainError("unavailable", doubtText(item)));
      }
    }
    await this.#sleep(
      Math.min(backoffMs.most, backoffMs.first * 2 ** attempt) * (0.5 + this.#deps.random() / 2),
    );
    const now = this.#deps.clock.now();
    const giveUp = [
      ...stay.filter((item) => isImpatient(item, now)),
      ...this.lanes.takeOut((item) => isImpatient(item, now)),
    ];
    for (const item of giveUp) {
      settle(item, new DomainError("unavailable", this.#uncertain.has(item) ? doubtText(item) : awayText));
    }
    if (this.#stopped) {
      for (const item of stay)
        settle(item, new DomainError("unavailable", "this server stops before the database came back"));
      return [];
    }
    return this.#dropBroken(stay.filter((item) => !giveUp.includes(item)));
  }

  #sleep(ms: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.#deps.clock.after(ms, resolve);
    });
  }

  /** Leaves out, and settles, what belongs to a chain that broke before it. */
  #dropBroken(items: readonly Queued[]): readonly Queued[] {
    return items.filter((item) => {
      if (chainOf(item.command)?.broken !== true) return true;
      settle(item, {
        kind: "entries",
        stored: 0,
        duplicates: 0,
        lastOffset: 0,
        refusals: [{ index: 0, why: "skipped" }],
      });
      return false;
    });
  }
}

/** What was not stored for want of a lock, in order, and the streams that are known to be locked. */
interface Held {
  readonly items: Queued[];
  readonly locked: Set<string>;
}

const isNewRoot = (command: Command, result: CommandResult): boolean =>
  command.kind === "create" &&
  command.parentWorkflowId === undefined &&
  result.kind === "lifecycle" &&
  result.result === "created";

const chainOf = (command: Command): Chain | undefined =>
  command.kind === "entries" ? command.chain : undefined;

function settle(item: Queued, outcome: CommandResult | Error): void {
  const chain = chainOf(item.command);
  if (
    chain !== undefined &&
    (outcome instanceof Error ||
      (outcome.kind === "entries" && outcome.refusals.length > 0 && !isOfSession(item)))
  ) {
    chain.broken = true;
  }
  item.settle(outcome);
}

type OfSession = Queued & { readonly command: AppendEntries };

const isOfSession = (item: Queued | undefined): item is OfSession =>
  item?.command.kind === "entries" && item.command.session !== undefined;

/**
 * A batch of a session that Postgres refuses: two halves, or instead of a single entry its number alone, so that it is
 * passed and what follows stands. They are settled as one.
 */
function splitPoisoned(item: OfSession): readonly Queued[] {
  const { command } = item;
  const { events } = command;
  const [only] = events;
  if (only !== undefined && events.length === 1) {
    if (only.type === passedType) {
      settle(item, new DomainError("unavailable", "a session's number could not be passed"));
      return [];
    }
    const rejection = toFinalRejection("unstorable", only);
    const passed = { ...only, type: passedType, payload: JSON.stringify(rejection) };
    return [
      {
        ...item,
        command: { ...command, events: [passed] },
        settle: (outcome) =>
          settle(
            item,
            outcome instanceof Error
              ? outcome
              : {
                  ...(outcome as EntriesResult),
                  refusals: (outcome as EntriesResult).refusals.map(({ index, why }) => ({
                    index,
                    why: why === "passed" ? "unstorable" : why,
                  })),
                },
          ),
      },
    ];
  }
  const middle = events.length >> 1;
  const outcomes: (CommandResult | Error)[] = [];
  return [events.slice(0, middle), events.slice(middle)].map((part, at) => ({
    ...item,
    command: {
      ...command,
      events: part,
      entries: part.length,
      bytes: part.reduce((sum, event) => sum + sizeOf(event), 0),
    },
    settle: (outcome) => {
      outcomes[at] = outcome;
      const [first, second] = outcomes;
      if (first !== undefined && second !== undefined) settle(item, merge(first, second, middle));
    },
  }));
}

function merge(
  first: CommandResult | Error,
  second: CommandResult | Error,
  offset: number,
): CommandResult | Error {
  if (first instanceof Error) return first;
  if (second instanceof Error) return second;
  const [a, b] = [first as EntriesResult, second as EntriesResult];
  return {
    kind: "entries",
    stored: a.stored + b.stored,
    duplicates: a.duplicates + b.duplicates,
    lastOffset: Math.max(a.lastOffset, b.lastOffset),
    refusals: [...a.refusals, ...b.refusals.map(({ index, why }) => ({ index: index + offset, why }))],
  };
}
