/**
 * One connection of a session, from init to the server's last word: sends what is in the outbox as far as credit allows, and
 * takes the answers.
 *
 * Guarantees: entries go out in the order of their numbers; after an answer that they were not taken it goes back to the number
 * that the server expects, not before the time it says (go-back-N); nothing is sent before `attach` is done; the server hears
 * something every 15 s.
 */
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import {
  FlowAction,
  RejectionCode,
  type SessionAck,
  type SessionClosed,
  type SessionInitAck,
  type SessionRejected,
  type SessionReply,
  SessionState,
} from "../../gen/tributary/v1/session_pb.ts";
import type { Said, SessionInit } from "./kinds.ts";

/** What the connection needs of its session. Numbers are those of the server's session. */
export interface Attached<E> {
  /** The newest entry that may be sent. */
  readonly last: number;
  readonly settled: number;
  readonly paused: boolean;
  /** Acks a second the client wants at most; 0: no limit. */
  readonly preferredRate: number;
  /** What to say when all is sent; undefined: go on. */
  readonly end: "drain" | "discard" | "detach" | undefined;
  entryAt(number: number): { readonly entry: E | undefined; readonly bytes: number } | undefined;
  attach(ack: SessionInitAck): Promise<void>;
  settle(upTo: number, offset: bigint): void;
  reject(rejected: SessionRejected): void;
  cancel(workflowId: string, reason: string): void;
  state(state: SessionState): void;
  violated(message: string): never;
}

const heartbeatMs = 15_000;
/** A batch closes at this much payload; one larger entry may stand alone. */
const batchBytes = 1024 * 1024;
/** Without an ack that says so, credit is tried again after so long. */
const creditRetryMs = 200;

export class Connection<E> {
  readonly #session: Attached<E>;
  readonly #init: SessionInit;
  readonly #random: () => number;
  #wake = () => {};
  #over = false;
  /** Number to send next; 0: not attached yet. */
  #next = 0;
  #maxBatch = 1000;
  #credit = { from: 0, entries: 0, bytes: 0 };
  #pressed = false;
  #notBeforeMs = 0;
  #saidEnd: Attached<E>["end"];
  #saidPaused = false;
  #saidRate = 0;

  constructor(session: Attached<E>, init: SessionInit, random: () => number) {
    this.#session = session;
    this.#init = init;
    this.#random = random;
  }

  /** There is something new: an entry, an end, a pause. */
  wake(): void {
    this.#wake();
  }

  /** Sends nothing more. */
  stop(): void {
    this.#over = true;
    this.#wake();
  }

  /** What the client says, one message after another, as fast as they are taken. */
  async *said(): AsyncGenerator<Said<E>> {
    yield { case: "init", value: this.#init };
    while (!this.#over) {
      const { end, paused, preferredRate } = this.#session;
      // One time for both looks at it: a wait that ended between them would be taken for none, and news waited for.
      const now = Date.now();
      if (this.#next === 0) await this.#change(now);
      else if (end === "discard" && this.#saidEnd === undefined) yield this.#close(end);
      else if (paused !== this.#saidPaused) {
        this.#saidPaused = paused;
        yield { case: "flow", value: { action: paused ? FlowAction.PAUSE : FlowAction.RESUME } };
      } else if (preferredRate !== this.#saidRate) {
        this.#saidRate = preferredRate;
        const action = preferredRate === 0 ? FlowAction.SPEED_UP : FlowAction.SLOW_DOWN;
        yield { case: "flow", value: { action, preferredRate } };
      } else if (this.#maySend(now)) {
        await turn(); // what is written in this turn goes with it
        const batch = this.#batch();
        if (batch !== undefined) yield batch;
      } else if (end !== undefined && this.#saidEnd === undefined && this.#isAllSettled()) {
        if (end === "detach") return;
        yield this.#close(end);
      } else if (!(await this.#change(now))) yield { case: "heartbeat", value: {} };
    }
  }

  /** What the server says. Answers its last word. */
  async take(message: SessionReply["message"]): Promise<SessionClosed | undefined> {
    switch (message.case) {
      case "initAck":
        await this.#takeInit(message.value);
        break;
      case "ack":
        this.#takeAck(message.value);
        break;
      case "rejected":
        this.#takeRejected(message.value);
        break;
      case "status": {
        const { state } = message.value;
        this.#pressed = state === SessionState.BACKPRESSURE || state === SessionState.OVERLOADED;
        this.#session.state(state);
        break;
      }
      case "cancelRequested":
        this.#session.cancel(message.value.workflowId, message.value.reason);
        break;
      case "closed":
        return message.value;
      default:
        return undefined; // alive
    }
    this.#wake();
    return undefined;
  }

  async #takeInit(ack: SessionInitAck): Promise<void> {
    await this.#session.attach(ack);
    const { lastSequence, credit, creditBytes, capabilities } = ack;
    this.#credit = { from: Number(lastSequence), entries: credit, bytes: Number(creditBytes) };
    this.#maxBatch = Math.min(this.#maxBatch, capabilities?.maxBatchSize || this.#maxBatch);
    this.#next = Number(lastSequence) + 1;
  }

  #takeAck({ upToSequence, level, lastOffset, credit, creditBytes }: SessionAck): void {
    if (level !== AckLevel.DURABLE) return;
    const upTo = Number(upToSequence);
    if (upTo >= this.#next) {
      this.#session.violated(`the server acknowledged ${upTo}, and ${this.#next - 1} was sent last`);
    }
    this.#credit = { from: upTo, entries: credit, bytes: Number(creditBytes) };
    this.#session.settle(upTo, lastOffset);
  }

  #takeRejected(rejected: SessionRejected): void {
    const { code, final, expectedSequence, retryAfterMs, message } = rejected;
    if (final) {
      this.#session.reject(rejected);
      return;
    }
    if (code === RejectionCode.BAD_MESSAGE)
      this.#session.violated(`the server did not understand: ${message}`);
    if (code === RejectionCode.SEQUENCE_DUPLICATE) return;
    const expected = Number(expectedSequence);
    if (expected <= this.#session.settled || expected > this.#next) {
      this.#session.violated(`the server expects ${expected}, and ${this.#session.settled} is settled`);
    }
    this.#next = expected;
    // Also a close that came too early; an end that is said once more is answered once more.
    this.#saidEnd = undefined;
    // Not all at once: others are told the same time.
    const spread = retryAfterMs * (1 + this.#random() / 4);
    if (code === RejectionCode.CREDIT_EXCEEDED) this.#credit.entries = 0;
    this.#notBeforeMs = Date.now() + (code === RejectionCode.CREDIT_EXCEEDED ? creditRetryMs : spread);
  }

  #close(end: "drain" | "discard"): Said<E> {
    this.#saidEnd = end;
    const drain = end === "drain";
    return { case: "close", value: { drain, lastSequence: drain ? BigInt(this.#next - 1) : 0n } };
  }

  #isAllSettled(): boolean {
    return this.#session.settled >= this.#session.last;
  }

  /** The last number that credit covers; under pressure this client takes half of it. */
  #mostNumber(): number {
    const { from, entries } = this.#credit;
    return from + (this.#pressed ? Math.ceil(entries / 2) : entries);
  }

  #maySend(now: number): boolean {
    if (this.#session.paused || this.#next > this.#session.last) return false;
    if (now < this.#notBeforeMs) return false;
    if (this.#credit.entries === 0 && this.#notBeforeMs > 0) {
      this.#notBeforeMs = 0;
      this.#credit.entries = 1; // no ack came: one more try
      this.#credit.from = this.#next - 1;
    }
    return this.#next <= this.#mostNumber() && this.#fits(this.#next, this.#bytesSent());
  }

  /** Payload bytes that are sent beyond what the credit counts from. */
  #bytesSent(): number {
    let bytes = 0;
    for (let number = this.#credit.from + 1; number < this.#next; number++) {
      bytes += this.#session.entryAt(number)?.bytes ?? 0;
    }
    return bytes;
  }

  #fits(number: number, bytes: number): boolean {
    const more = this.#session.entryAt(number)?.bytes ?? 0;
    return number === this.#credit.from + 1 || bytes + more <= this.#credit.bytes;
  }

  #batch(): Said<E> | undefined {
    const first = this.#next;
    const last = Math.min(this.#session.last, this.#mostNumber(), first + this.#maxBatch - 1);
    const entries: E[] = [];
    let bytes = 0;
    const before = this.#bytesSent();
    while (this.#next <= last) {
      const slot = this.#session.entryAt(this.#next);
      if (slot?.entry === undefined) break;
      const isFirst = entries.length === 0;
      if (!isFirst && bytes + slot.bytes > batchBytes) break;
      if (!this.#fits(this.#next, before + bytes)) break;
      bytes += slot.bytes;
      entries.push(slot.entry);
      this.#next += 1;
    }
    return entries.length === 0 ? undefined : { case: "batch", first, entries };
  }

  /** Waits for news; false: nothing was said for 15 s. */
  #change(now: number): Promise<boolean> {
    const waitMs = this.#notBeforeMs - now;
    return new Promise((resolve) => {
      const timed = setTimeout(() => resolve(waitMs > 0), waitMs > 0 ? waitMs : heartbeatMs);
      this.#wake = () => {
        clearTimeout(timed);
        resolve(true);
      };
    });
  }
}

/** To the end of this turn of the event loop. */
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    if (typeof setImmediate === "function") setImmediate(resolve);
    else setTimeout(resolve, 0);
  });
