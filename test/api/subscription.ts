/**
 * Readers for the tests of the contract: what a subscription said, checked against what holds for every subscription
 * (Opened first and once, offsets strictly rising, nothing after Ended or Closing).
 */
import type { MessageShape } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import { expect } from "vitest";
import type {
  ClosingSchema,
  EndedSchema,
  Event,
  GapSchema,
  OpenedSchema,
  StreamMessage,
} from "../../gen/tributary/v1/event_pb.ts";
import { ReadingCall } from "../support/reading-call.ts";

interface Answer {
  readonly message?: StreamMessage | undefined;
}
export type Answers = AsyncIterable<Answer>;

/** What one subscription has sent so far. */
export class Transcript {
  readonly cases: string[] = [];
  readonly events: Event[] = [];
  readonly batchSizes: number[] = [];
  readonly heartbeats: number[] = [];
  readonly gaps: MessageShape<typeof GapSchema>[] = [];
  opened: MessageShape<typeof OpenedSchema> | undefined;
  closing: MessageShape<typeof ClosingSchema> | undefined;
  ended: MessageShape<typeof EndedSchema> | undefined;
  #position = 0;

  add(message: StreamMessage | undefined): void {
    const inner = message?.message;
    if (inner?.case === undefined) throw new Error("a message without content");
    if (this.closing !== undefined || this.ended !== undefined) {
      throw new Error(`${inner.case} after the last message`);
    }
    if ((inner.case === "opened") !== (this.cases.length === 0)) {
      throw new Error(`${inner.case} as message ${this.cases.length}`);
    }
    this.cases.push(inner.case);
    switch (inner.case) {
      case "opened":
        this.opened = inner.value;
        this.#position = Number(inner.value.startOffset);
        break;
      case "events": {
        const { events } = inner.value;
        if (events.length === 0 || events.length > 1000) throw new Error(`a batch of ${events.length}`);
        for (const event of events) {
          if (Number(event.offset) <= this.#position) {
            throw new Error(`offset ${event.offset} after ${this.#position}`);
          }
          this.#position = Number(event.offset);
        }
        this.batchSizes.push(events.length);
        this.events.push(...events);
        break;
      }
      case "heartbeat":
        if (Number(inner.value.offset) < this.#position) {
          throw new Error(`heartbeat at ${inner.value.offset} after ${this.#position}`);
        }
        this.#position = Number(inner.value.offset);
        this.heartbeats.push(this.#position);
        break;
      case "gap":
        this.gaps.push(inner.value);
        this.#position = Number(inner.value.toOffset);
        break;
      case "closing":
        this.closing = inner.value;
        break;
      case "ended":
        this.ended = inner.value;
        break;
    }
  }

  get offsets(): number[] {
    return this.events.map((event) => Number(event.offset));
  }

  get texts(): string[] {
    return this.events.map(textOf);
  }
}

/** Reads a call into a transcript. */
class TranscribedCall extends ReadingCall<Answer> {
  readonly #transcript: Transcript;

  constructor(start: (options: CallOptions) => Answers, transcript: Transcript) {
    super(start);
    this.#transcript = transcript;
  }

  protected override get hasLast(): boolean {
    return (this.#transcript.ended ?? this.#transcript.closing) !== undefined;
  }

  protected override hear({ message }: Answer): void {
    this.#transcript.add(message);
  }
}

/** A subscription that is read as fast as it sends, until it ends or is stopped. */
export class Subscription extends Transcript implements AsyncDisposable {
  readonly #call: TranscribedCall;

  constructor(start: (options: CallOptions) => Answers) {
    super();
    this.#call = new TranscribedCall(start, this);
  }

  /** When the call has ended; rejects with its error. */
  get finished(): Promise<void> {
    return this.#call.finished;
  }

  /** Waits until the assertions hold; fails at once when the call fails. */
  async until(assertions: () => void, timeoutMs?: number): Promise<this> {
    await this.#call.until(assertions, timeoutMs);
    return this;
  }

  /** Waits for the end, for less than a heartbeat interval: an end that only a heartbeat brings is too late. */
  async end(timeoutMs = 8000): Promise<this> {
    await this.until(() => expect(this.ended ?? this.closing, "ended or closing").toBeDefined(), timeoutMs);
    await this.finished;
    return this;
  }

  open(): Promise<this> {
    return this.until(() => expect(this.opened).toBeDefined());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#call[Symbol.asyncDispose]();
  }
}

export function follow(start: (options: CallOptions) => Answers): Subscription {
  return new Subscription(start);
}

/** Reads a subscription whose scope is closed, to its end. */
export async function readToEnd(start: (options: CallOptions) => Answers): Promise<Subscription> {
  await using subscription = follow(start);
  return await subscription.end();
}

export function textOf(event: Event): string {
  if (event.payload.case === "binary") throw new Error(`event ${event.offset} is binary`);
  return event.payload.value ?? "";
}
