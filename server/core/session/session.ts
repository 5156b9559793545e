/**
 * One connection of a session: takes what the client sends, tells what became of it, and ends in words.
 *
 * Guarantees: entries go to the appender in the order of their numbers, none left out, none twice; an ack covers only what
 * is queued (ACCEPTED) or settled (DURABLE), and rejections are told before the ack that covers them; what is not
 * acknowledged is bounded by the credit, what is to be said by that and by reading no further while the client does not
 * listen; the last message is `closed`.
 */
import type { Appender, Submission } from "../appender.ts";
import type { Clock } from "../clock.ts";
import { type AppendEntries, type Chain, type EntriesResult, type Lane, passedType } from "../command.ts";
import { countRejection } from "../counts.ts";
import { type NewEvent, noWorkflow, payloadSize, sizeOf } from "../event.ts";
import { Fifo } from "../fifo.ts";
import { splitAtHazards } from "../hazards.ts";
import { limits } from "../limits.ts";
import type { Quotas } from "../quota/quotas.ts";
import type { TenantLimits } from "../tenants.ts";
import { Wakeup } from "../wakeup.ts";
import { Intake, type Rejection } from "./intake.ts";
import {
  ClosedReason,
  FlowAction,
  type SessionEntry,
  type SessionInput,
  type SessionOutput,
  SessionState,
} from "./messages.ts";
import { Pressure } from "./pressure.ts";
import { RejectionCode, toFinalRejection } from "./rejection.ts";

/** What the session is about, as its attach settled it. */
export interface SessionTerms {
  readonly sessionId: string;
  readonly tenant: string;
  readonly streamId: string;
  readonly workflowId: string | undefined;
  /** Of observations: the name of its memory space. */
  readonly space: string | undefined;
  readonly epoch: number;
  readonly lastSequence: number;
  readonly lastOffset: number;
  readonly lane: Lane;
  readonly maxBatch: number;
  /** Entries that may be unacknowledged. */
  readonly credit: number;
  readonly acceptedAcks: boolean;
  /** As the session began. */
  readonly tenantLimits: TenantLimits;
  /** Trace context of the call, if it is sampled. */
  readonly trace?: string | undefined;
}

export interface SessionDeps {
  readonly appender: Pick<
    Appender,
    "submit" | "discard" | "retryHintMs" | "waitReason" | "onWaitChange" | "lanes" | "traffic"
  >;
  readonly clock: Clock;
  readonly quotas: Pick<Quotas, "admitSome">;
}

/** So many answers may wait for a client that does not read; then nothing more is read of it. */
const mostAnswers = 1000;

interface Run {
  readonly entries: readonly NewEvent[];
  readonly bytes: number;
}

interface Ending {
  readonly reason: ClosedReason;
  readonly reconnectAfterMs: number;
  readonly discard: boolean;
  /** Give up waiting then, ms of the clock. */
  readonly deadlineMs: number;
}

export class Session {
  readonly terms: SessionTerms;
  readonly #deps: SessionDeps;
  readonly #intake: Intake;
  readonly #pressure: Pressure;
  readonly #chain: Chain = { broken: false };
  readonly #wakeup = new Wakeup();
  readonly #room = new Wakeup();
  readonly #answers: SessionOutput[] = [];
  /** Workflows whose request to stop was told: at most its own and those above it. */
  readonly #cancels = new Set<string>();
  #lastOffset: number;
  #unsettled = 0;
  /** Batches that no DURABLE ack covers yet, oldest first. */
  readonly #unacked = new Fifo<{ readonly upTo: number; readonly takenMs: number }>();
  #discarded = 0;
  #acked = { accepted: 0, durable: 0 };
  #ackedMs = 0;
  #ackIntervalMs = 0;
  #ending: Ending | undefined;
  #failure: Error | undefined;
  #toldState: SessionState = SessionState.ACTIVE;
  #timer: { readonly dueMs: number; readonly cancel: () => void } | undefined;
  #heardMs: number;
  #saidMs: number;

  constructor(deps: SessionDeps, terms: SessionTerms) {
    this.#deps = deps;
    this.terms = terms;
    this.#intake = new Intake(terms.lastSequence, terms.maxBatch, terms.credit);
    this.#pressure = new Pressure(deps.appender.lanes, terms.lane, terms.tenant);
    this.#lastOffset = terms.lastOffset;
    this.#acked = { accepted: terms.lastSequence, durable: terms.lastSequence };
    this.#heardMs = this.#saidMs = deps.clock.now();
  }

  get state(): SessionState {
    if (this.#ending !== undefined) return SessionState.DRAINING;
    if (this.#intake.paused) return SessionState.PAUSED;
    if (this.#unsettled > 0 && this.#waitReason !== undefined) return SessionState.ERROR;
    if (this.#pressure.state === "overloaded") return SessionState.OVERLOADED;
    return this.#pressure.state === "backpressure" ? SessionState.BACKPRESSURE : SessionState.ACTIVE;
  }

  get #waitReason(): string | undefined {
    return this.#deps.appender.waitReason(this.terms.streamId);
  }

  /** Ends the connection in words. The first reason counts, but a later one may hurry it. */
  end(reason: ClosedReason, options: { discard?: boolean; reconnectAfterMs?: number } = {}): void {
    const { discard = false, reconnectAfterMs = 0 } = options;
    const deadlineMs = this.#deps.clock.now() + limits.sessionDrainMs;
    this.#ending ??= { reason, reconnectAfterMs, discard, deadlineMs };
    this.#room.ring();
    this.#wakeup.ring();
  }

  /** Told once for each workflow, whatever ways it comes by. */
  requestCancel(workflowId: string, reason: string): void {
    if (this.#cancels.has(workflowId)) return;
    this.#cancels.add(workflowId);
    this.#say({ kind: "cancel_requested", workflowId, reason });
  }

  /** Says what there is to say, until the end; `inputs` is read beside it. Returns how it ended. */
  async *run(
    inputs: AsyncIterable<SessionInput>,
    signal: AbortSignal,
  ): AsyncGenerator<SessionOutput, ClosedReason | undefined> {
    this.#pressure.update();
    const ring = () => this.#wakeup.ring();
    signal.addEventListener("abort", ring, { once: true });
    const stops = [
      this.#deps.appender.onWaitChange(ring),
      this.#deps.appender.lanes.onPressure(() => this.#onPressure()),
    ];
    void this.#read(inputs, signal);
    try {
      while (!signal.aborted) {
        if (this.#failure !== undefined) throw this.#failure;
        for (const output of this.#outputs()) {
          this.#saidMs = this.#deps.clock.now();
          yield output;
        }
        if (this.#isOver()) return this.#ending?.reason;
        if (this.#answers.length === 0) await this.#wait();
        this.#keepAlive();
      }
      // What the client sent may be why the call is over.
      if (this.#failure !== undefined) throw this.#failure;
      return undefined;
    } finally {
      for (const stop of stops) stop();
      signal.removeEventListener("abort", ring);
      this.#timer?.cancel();
      this.#room.ring();
    }
  }

  /** The last message. */
  closed(reason: ClosedReason): SessionOutput {
    return {
      kind: "closed",
      reason,
      finalSequence: this.#intake.settled,
      lastOffset: this.#lastOffset,
      discarded: this.#discarded,
      reconnectAfterMs: this.#ending?.reconnectAfterMs ?? 0,
    };
  }

  /** What there is to say now; rejections before the ack that covers them. */
  *#outputs(): Generator<SessionOutput> {
    yield* this.#answers.splice(0);
    this.#room.ring();
    if (this.state !== this.#toldState) yield this.#status();
    yield* this.#acks();
  }

  #isOver(): boolean {
    const ending = this.#ending;
    if (ending === undefined) return false;
    // Another connection has the session: what this one still has waiting is refused by the epoch.
    if (ending.reason === ClosedReason.SUPERSEDED && this.#chain.broken) return true;
    if (this.#unsettled === 0) return this.#answers.length === 0 && !this.#ackDue();
    const late = this.#deps.clock.now() >= ending.deadlineMs;
    if ((ending.discard || late) && !this.#chain.broken) {
      this.#deps.appender.discard(this.#chain, this.terms.streamId);
    }
    return false;
  }

  // --- what the client says

  async #read(inputs: AsyncIterable<SessionInput>, signal: AbortSignal): Promise<void> {
    try {
      for await (const input of inputs) {
        this.#heardMs = this.#deps.clock.now();
        if (this.#ending !== undefined) continue; // read on, so that the client is not stuck in writing
        this.#take(input);
        while (this.#answers.length >= mostAnswers && this.#ending === undefined && !signal.aborted) {
          await this.#room.wait();
        }
      }
      this.end(ClosedReason.DETACHED);
    } catch (error) {
      if (this.#ending === undefined) this.#failure = error as Error;
      this.#wakeup.ring();
    }
  }

  #take(input: SessionInput): void {
    switch (input.kind) {
      case "batch":
        this.#takeBatch(input.first, input.entries);
        break;
      case "flow":
        this.#takeFlow(input.action, input.preferredRate);
        break;
      case "close":
        this.#takeClose(input.drain, input.lastSequence);
        break;
      case "bad":
        this.#say({ kind: "rejected", ...this.#badMessage(input.message) });
        break;
      case "heartbeat":
        break;
    }
  }

  #takeBatch(first: number, entries: readonly SessionEntry[]): void {
    const sizes = entries.map((entry) => (entry.kind === "event" ? payloadSize(entry.event.payload) : 0));
    const { from, to: within, answers } = this.#intake.judge(first, sizes);
    const { tenant, tenantLimits } = this.terms;
    const admitted = this.#deps.quotas.admitSome(tenant, tenantLimits, sizes.slice(from, within));
    const to = from + admitted.passed;
    const events = entries.slice(from, to).map((entry, i) => this.#toEvent(entry, first + from + i));
    let taken = from;
    let refused: readonly Rejection[] = [];
    for (const entriesOfRun of events.length === 0 ? [] : splitAtHazards(events)) {
      const submission = this.#submit(entriesOfRun);
      if (submission.offer !== "queued") {
        refused = this.#refuseForRoom(first + taken, submission.offer, entriesOfRun);
        break;
      }
      this.#intake.take(sizes, taken, taken + entriesOfRun.length);
      taken += entriesOfRun.length;
    }
    if (taken > from && this.#unacked.length < this.terms.credit)
      this.#unacked.push({ upTo: first + taken - 1, takenMs: performance.now() });
    if (refused.length === 0 && to < within) refused = this.#refuseForRate(first + to, admitted);
    // What credit or duplicates have to say; after an entry without room only that counts.
    for (const answer of refused.length > 0
      ? [...answers.filter(({ sequence }) => sequence < first + from), ...refused]
      : answers) {
      this.#say({ kind: "rejected", ...answer });
    }
    this.#pressure.update(refused.some(({ code }) => code === RejectionCode.OVERLOADED));
    this.#wakeup.ring();
  }

  #toEvent(entry: SessionEntry, sequence: number): NewEvent {
    const { sessionId, workflowId } = this.terms;
    if (entry.kind === "event") {
      const { observation } = entry.event;
      const numbered = { ...entry.event, producerId: sessionId, sequence };
      if (observation === undefined || observation.observationId !== "") return numbered;
      return { ...numbered, observation: { ...observation, observationId: `${sessionId}:${sequence}` } };
    }
    const { code, message } = entry;
    return {
      workflowId: workflowId ?? noWorkflow,
      taskExecutionId: "",
      producerId: sessionId,
      sequence,
      type: passedType,
      payload: JSON.stringify({ code, message }),
      timestampMs: 0,
    };
  }

  #submit(events: readonly NewEvent[]): Submission {
    const { tenant, streamId, lane, epoch, trace } = this.terms;
    const command: AppendEntries = {
      kind: "entries",
      tenant,
      streamId,
      lane,
      entries: events.length,
      bytes: events.reduce((sum, event) => sum + sizeOf(event), 0),
      idempotent: true,
      patienceMs: undefined,
      chain: this.#chain,
      events,
      session: { epoch },
      trace,
    };
    const submission = this.#deps.appender.submit(command);
    if (submission.offer === "queued") {
      this.#unsettled++;
      const bytes = events.reduce(
        (sum, event) => sum + (event.type === passedType ? 0 : payloadSize(event.payload)),
        0,
      );
      submission.result.then(
        (result) => this.#settle({ entries: events, bytes }, result as EntriesResult),
        (error: Error) => this.#fail(error),
      );
    }
    return submission;
  }

  #refuseForRate(
    sequence: number,
    { text, retryAfterMs }: ReturnType<Quotas["admitSome"]>,
  ): readonly Rejection[] {
    return this.#intake.refuse(
      sequence,
      RejectionCode.RATE_LIMITED,
      `${text}; send again from entry ${sequence} after ${retryAfterMs} ms`,
      retryAfterMs,
    ).answers;
  }

  #refuseForRoom(
    sequence: number,
    offer: "full" | "closed",
    events: readonly NewEvent[],
  ): readonly Rejection[] {
    if (offer === "closed") return []; // the server stops; the drain says so
    const { lanes } = this.#deps.appender;
    const { lane } = this.terms;
    const retryAfterMs = this.#deps.appender.retryHintMs(lane);
    const reading = lanes.usage.read(lane);
    return this.#intake.refuse(
      sequence,
      RejectionCode.OVERLOADED,
      `no room for ${events.length} entries: the ${lane} lane holds ${reading.entries} of ${reading.capacityEntries} entries and ${reading.bytes} of ${reading.capacityBytes} bytes, of which one tenant may hold what is free; send again from entry ${sequence} after ${retryAfterMs} ms`,
      retryAfterMs,
    ).answers;
  }

  #takeFlow(action: number, preferredRate: number): void {
    switch (action) {
      case FlowAction.PAUSE:
        this.#intake.paused = true;
        break;
      case FlowAction.RESUME:
        this.#intake.paused = false;
        break;
      case FlowAction.SLOW_DOWN:
      case FlowAction.SPEED_UP:
        this.#ackIntervalMs = preferredRate > 0 ? 1000 / preferredRate : 0;
        break;
      default:
    }
    this.#pressure.update();
    this.#say(this.#status());
  }

  #takeClose(drain: boolean, lastSequence: number): void {
    const { taken, expected } = this.#intake;
    if (lastSequence !== 0 && lastSequence !== taken) {
      this.#say({
        kind: "rejected",
        sequence: lastSequence,
        expectedSequence: expected,
        code: RejectionCode.SEQUENCE_GAP,
        message: `last_sequence: ${lastSequence} is not the last number taken, which is ${taken}; the session stays open`,
        retryAfterMs: 0,
        final: false,
      });
      return;
    }
    this.end(ClosedReason.CLIENT, { discard: !drain });
  }

  #badMessage(message: string): Rejection {
    return {
      sequence: 0,
      expectedSequence: this.#intake.expected,
      code: RejectionCode.BAD_MESSAGE,
      message,
      retryAfterMs: 0,
      final: false,
    };
  }

  // --- what became of it

  #settle({ entries, bytes }: Run, { lastOffset, refusals }: EntriesResult): void {
    this.#unsettled--;
    this.#pressure.update();
    this.#wakeup.ring();
    const [first] = refusals;
    if (first?.why === "fenced") {
      this.#chain.broken = true;
      this.end(ClosedReason.SUPERSEDED);
      // Whatever it was about to end for: another connection decides what becomes of the session.
      if (this.#ending !== undefined) this.#ending = { ...this.#ending, reason: ClosedReason.SUPERSEDED };
      return;
    }
    if (first?.why === "skipped") {
      this.#discarded += entries.length;
      return;
    }
    for (const { index, why } of refusals) {
      const entry = entries[index] as NewEvent;
      const rejection =
        why === "passed"
          ? {
              ...(JSON.parse(String(entry.payload)) as { code: number; message: string }),
              sequence: entry.sequence,
            }
          : toFinalRejection(why, entry);
      if (rejection === undefined) continue;
      this.#say({
        kind: "rejected",
        ...rejection,
        expectedSequence: this.#intake.expected,
        retryAfterMs: 0,
        final: true,
      });
    }
    this.#intake.settle((entries.at(-1) as NewEvent).sequence, bytes);
    this.#lastOffset = Math.max(this.#lastOffset, lastOffset);
  }

  /** Not an answer of the database: this server stops, or a bug. What was taken is not settled; the client sends it again. */
  #fail(error: Error): void {
    this.#unsettled--;
    this.#chain.broken = true;
    if (this.#ending === undefined) this.#failure = error;
    this.#wakeup.ring();
  }

  // --- what there is to say

  #say(output: SessionOutput): void {
    if (output.kind === "rejected") countRejection(this.#deps.appender.traffic.counts, output.code);
    this.#answers.push(output);
    this.#wakeup.ring();
  }

  #ackDue(): boolean {
    return (
      this.#intake.settled > this.#acked.durable ||
      (this.terms.acceptedAcks && this.#intake.taken > this.#acked.accepted)
    );
  }

  *#acks(): Generator<SessionOutput> {
    if (!this.#ackDue()) return;
    const now = this.#deps.clock.now();
    if (this.#ending === undefined && now < this.#ackedMs + this.#ackIntervalMs) return;
    this.#ackedMs = now;
    const { taken, settled, outstandingBytes } = this.#intake;
    if (this.terms.acceptedAcks && taken > this.#acked.accepted) {
      this.#acked.accepted = taken;
      yield {
        kind: "ack",
        upTo: taken,
        level: "accepted",
        lastOffset: 0,
        credit: this.terms.credit - (taken - settled),
        creditBytes: Math.max(0, limits.sessionCreditBytes - outstandingBytes),
      };
    }
    if (settled > this.#acked.durable) {
      this.#acked.durable = settled;
      this.#measureAck(settled);
      yield {
        kind: "ack",
        upTo: settled,
        level: "durable",
        lastOffset: this.#lastOffset,
        credit: this.terms.credit,
        creditBytes: limits.sessionCreditBytes,
      };
    }
  }

  #measureAck(settled: number): void {
    const oldest = this.#unacked.peek();
    while ((this.#unacked.peek()?.upTo ?? Number.POSITIVE_INFINITY) <= settled) this.#unacked.shift();
    if (oldest === undefined) return;
    this.#deps.appender.traffic.measures.observe("ackSeconds", (performance.now() - oldest.takenMs) / 1000);
  }

  #status(): SessionOutput {
    const { lane } = this.terms;
    const { lanes } = this.#deps.appender;
    const { entries, capacityEntries } = lanes.usage.read(lane);
    const { state } = this;
    this.#toldState = state;
    const full = state === SessionState.BACKPRESSURE || state === SessionState.OVERLOADED;
    return {
      kind: "status",
      state,
      queueDepth: entries,
      queueCapacity: capacityEntries,
      pressure: this.#pressure.level,
      retryAfterMs: full ? this.#deps.appender.retryHintMs(lane) : 0,
      message: state === SessionState.ERROR ? `entries wait: ${this.#waitReason}` : "",
    };
  }

  /** Others put entries in or took them out. */
  #onPressure(): void {
    if (this.#pressure.update()) this.#wakeup.ring();
  }

  #keepAlive(): void {
    const now = this.#deps.clock.now();
    if (now - this.#heardMs >= limits.sessionSilenceMs) this.end(ClosedReason.DETACHED);
    if (now - this.#saidMs >= limits.sessionHeartbeatMs) this.#say({ kind: "heartbeat" });
  }

  async #wait(): Promise<void> {
    const { clock } = this.#deps;
    let dueMs = Math.min(
      this.#saidMs + limits.sessionHeartbeatMs,
      this.#heardMs + limits.sessionSilenceMs,
      this.#ending?.deadlineMs ?? Number.POSITIVE_INFINITY,
    );
    if (this.#ackDue()) dueMs = Math.min(dueMs, this.#ackedMs + this.#ackIntervalMs);
    // One that is early enough stays, so that a busy session sets none.
    if (this.#timer === undefined || this.#timer.dueMs > dueMs) {
      this.#timer?.cancel();
      const cancel = clock.after(Math.max(1, dueMs - clock.now()), () => {
        this.#timer = undefined;
        this.#wakeup.ring();
      });
      this.#timer = { dueMs, cancel };
    }
    await this.#wakeup.wait();
  }
}
