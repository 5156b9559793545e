/**
 * Which entries of a batch a session takes: the rules of numbers, credit and pause, without anything that waits. Guarantees
 * that numbers are taken without hole or repetition, and that one discontinuity is answered once: what follows it is dropped
 * until a batch begins at the expected number (go-back-N).
 */
import { limits } from "../limits.ts";
import { RejectionCode } from "./rejection.ts";

export interface Rejection {
  readonly sequence: number;
  readonly expectedSequence: number;
  readonly code: number;
  readonly message: string;
  readonly retryAfterMs: number;
  readonly final: boolean;
}

export interface Taken {
  /** Entries of the batch to take: from … to-1. */
  readonly from: number;
  readonly to: number;
  readonly answers: readonly Rejection[];
}

const nothing: Taken = { from: 0, to: 0, answers: [] };

export class Intake {
  /** Last number taken. */
  taken: number;
  /** Last number stored or finally rejected. */
  settled: number;
  paused = false;
  /** Payload bytes taken and not settled. */
  outstandingBytes = 0;
  readonly #maxBatch: number;
  readonly #credit: number;
  #skipping = false;

  constructor(lastSequence: number, maxBatch: number, credit: number) {
    this.taken = this.settled = lastSequence;
    this.#maxBatch = maxBatch;
    this.#credit = credit;
  }

  get expected(): number {
    return this.taken + 1;
  }

  /** Looks at a batch of entries of these sizes that begins at `first`. The caller then calls `take` or `refuse`. */
  judge(first: number, sizes: readonly number[]): Taken {
    const { expected } = this;
    const bad = this.#badBatch(first, sizes.length);
    if (bad !== undefined) return { ...nothing, answers: [this.#badMessage(bad)] };
    if (this.#skipping && first !== expected) return nothing;
    if (first > expected) {
      return this.refuse(
        first,
        RejectionCode.SEQUENCE_GAP,
        `first_sequence: ${first} skips ${first - expected}; send ${expected} next`,
      );
    }
    this.#skipping = false;
    const answers: Rejection[] = [];
    const from = expected - first;
    if (from > 0) {
      const upTo = Math.min(expected, first + sizes.length) - 1;
      answers.push({
        ...this.#answer(
          first,
          RejectionCode.SEQUENCE_DUPLICATE,
          `${first} to ${upTo} were taken before and are not stored again; the rest of the batch is taken`,
        ),
      });
      if (from >= sizes.length) return { ...nothing, answers };
    }
    if (this.paused) {
      const { answers: more } = this.refuse(
        expected,
        RejectionCode.PAUSED,
        "the session is paused; send FLOW_ACTION_RESUME, then this entry again",
      );
      return { ...nothing, answers: [...answers, ...more] };
    }
    const to = this.#withinCredit(from, sizes);
    if (to < sizes.length) {
      const { answers: more } = this.refuse(
        first + to,
        RejectionCode.CREDIT_EXCEEDED,
        `entry ${first + to} is beyond the credit: at most ${this.#credit} entries and ${limits.sessionCreditBytes} bytes may be unacknowledged; wait for an ack`,
      );
      answers.push(...more.map((answer) => ({ ...answer, expectedSequence: first + to })));
    }
    return { from, to, answers };
  }

  /** These entries of the last judged batch are on their way. */
  take(sizes: readonly number[], from: number, to: number): void {
    this.taken += to - from;
    for (const size of sizes.slice(from, to)) this.outstandingBytes += size;
  }

  settle(upTo: number, bytes: number): void {
    this.settled = upTo;
    this.outstandingBytes -= bytes;
  }

  /** Refuses from this number on, not for good: everything is dropped until a batch begins at the expected one. */
  refuse(sequence: number, code: number, message: string, retryAfterMs = 0): Taken {
    this.#skipping = true;
    return { ...nothing, answers: [this.#answer(sequence, code, message, retryAfterMs)] };
  }

  #withinCredit(from: number, sizes: readonly number[]): number {
    let bytes = this.outstandingBytes;
    let to = from;
    for (; to < sizes.length; to++) {
      const ahead = this.taken + (to - from) + 1 - this.settled;
      bytes += sizes[to] as number;
      if (ahead > this.#credit || (bytes > limits.sessionCreditBytes && ahead > 1)) break;
    }
    return to;
  }

  #badBatch(first: number, length: number): string | undefined {
    if (first < 1) return `first_sequence: must be at least 1, found ${first}`;
    if (first > Number.MAX_SAFE_INTEGER - Math.max(0, length - 1)) {
      return `first_sequence: numbers go up to ${Number.MAX_SAFE_INTEGER}, found ${first}; send ${this.expected} next`;
    }
    if (length === 0) return "the batch holds no entry; leave such a message out";
    if (length > this.#maxBatch) {
      return `the batch holds ${length} entries, more than max_batch_size, which is ${this.#maxBatch}; send smaller ones`;
    }
    return undefined;
  }

  #badMessage(message: string): Rejection {
    return this.#answer(0, RejectionCode.BAD_MESSAGE, message);
  }

  #answer(sequence: number, code: number, message: string, retryAfterMs = 0): Rejection {
    return { sequence, expectedSequence: this.expected, code, message, retryAfterMs, final: false };
  }
}
