/**
 * A StreamMany or Multiplex call for tests: what each label was sent, checked against what holds for every subscription,
 * and that nothing comes for a label after its last message.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import { expect } from "vitest";
import type { StreamError, StreamMessage } from "../../gen/tributary/v1/event_pb.ts";
import type {
  MultiplexRequestSchema,
  MultiplexResponse,
  StreamManyResponse,
  StreamTargetSchema,
} from "../../gen/tributary/v1/event_stream_service_pb.ts";
import { ReadingCall } from "../support/reading-call.ts";
import { RequestQueue } from "../support/request-queue.ts";
import type { Clients } from "../support/server.ts";
import { Transcript } from "./subscription.ts";

export type TargetInit = Exclude<MessageInitShape<typeof StreamTargetSchema>, { $typeName: string }>;
type Request = Exclude<MessageInitShape<typeof MultiplexRequestSchema>, { $typeName: string }>;
type Answer = StreamManyResponse | MultiplexResponse;

/** What one label was sent, from one subscribe to its end. */
export class LabelTranscript extends Transcript {
  error: StreamError | undefined;
  unsubscribed = false;

  get isOver(): boolean {
    return this.error !== undefined || this.unsubscribed || (this.closing ?? this.ended) !== undefined;
  }
}

/** The call's own words, which are no subscription's: it closes. */
function closingOf({ message }: StreamMessage) {
  if (message.case !== "closing") throw new Error(`${message.case} without a label`);
  return message.value;
}

export class LabelledCall extends ReadingCall<Answer> {
  /** By label; of a label that was used again the last. */
  readonly labels = new Map<string, LabelTranscript>();
  /** The labels of the answers, in order. */
  readonly order: string[] = [];
  readonly #requests: RequestQueue<Request>;

  constructor(start: (requests: AsyncIterable<Request>, options: CallOptions) => AsyncIterable<Answer>) {
    const requests = new RequestQueue<Request>();
    super((options) => start(requests, options));
    this.#requests = requests;
  }

  protected override get hasLast(): boolean {
    return true; // each label has its own
  }

  protected override hear({ label, result }: Answer): void {
    this.order.push(label);
    let transcript = this.labels.get(label);
    if (transcript?.isOver !== false) {
      // After the last message of a label only a new subscription of it may say something.
      if (transcript !== undefined && !this.#isNew(result))
        throw new Error(`${result.case} after the end of ${label}`);
      transcript = new LabelTranscript();
      this.labels.set(label, transcript);
    }
    if (result.case === "message" && label === "") transcript.closing = closingOf(result.value);
    else if (result.case === "message") transcript.add(result.value);
    else if (result.case === "error") transcript.error = result.value;
    else if (result.case === "unsubscribed") transcript.unsubscribed = true;
    else throw new Error("an answer without content");
  }

  #isNew(result: Answer["result"]): boolean {
    // It may be refused or removed before it opened.
    return (
      result.case === "error" ||
      result.case === "unsubscribed" ||
      (result.case === "message" && result.value.message.case === "opened")
    );
  }

  send(...requests: Request[]): this {
    this.#requests.send(...requests);
    return this;
  }

  subscribe(label: string, target: TargetInit): this {
    return this.send({ operation: { case: "subscribe", value: { label, ...target } } });
  }

  unsubscribe(label: string): this {
    return this.send({ operation: { case: "unsubscribe", value: { label } } });
  }

  grant(label: string, events: number): this {
    return this.send({ operation: { case: "grant", value: { label, events } } });
  }

  halfClose(): this {
    this.#requests.close();
    return this;
  }

  /** What a label was sent so far. */
  of(label: string): LabelTranscript {
    return this.labels.get(label) ?? new LabelTranscript();
  }

  async end(timeoutMs = 8000): Promise<this> {
    await this.until(() => expect(this.hasFinished).toBe(true), timeoutMs);
    await this.finished;
    return this;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.#requests.close();
    await super[Symbol.asyncDispose]();
  }
}

export const multiplex = ({ streams }: Pick<Clients, "streams">): LabelledCall =>
  new LabelledCall((requests, options) => streams.multiplex(requests, options));

export const streamMany = (
  { streams }: Pick<Clients, "streams">,
  targets: readonly TargetInit[],
): LabelledCall => new LabelledCall((_, options) => streams.streamMany({ targets: [...targets] }, options));
