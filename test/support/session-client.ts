/**
 * A reference client of the session protocol: small, and right. It writes a list of entries, whatever happens to the
 * connection or the server: keeps what is not durable, sends no more than the credit allows, goes back to the number that
 * the server expects (go-back-N), and resumes its session from the number that init returns.
 *
 * It also is a witness: `problems` names everything that the server said and the contract does not allow.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import {
  RejectionCode,
  SessionClosedReason,
  SessionEndedSchema,
  type SessionReply,
  type SessionState,
} from "../../gen/tributary/v1/session_pb.ts";
import type {
  PublishTaskStreamRequestSchema,
  TaskEventSchema,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import type { Clients } from "./server.ts";

type Request = MessageInitShape<typeof PublishTaskStreamRequestSchema>;
type EventInit = MessageInitShape<typeof TaskEventSchema>;
type Init = NonNullable<Extract<Request["operation"], { case: "init" }>>["value"]["session"];

export interface SessionWriterOptions {
  readonly workflowId: string;
  /** Entry n is `entries[n - 1]`. */
  readonly entries: readonly EventInit[];
  readonly session?: Init;
  /** Entries of the next batch. */
  readonly batchSize?: () => number;
  /** Codes after which it tries again; others end it. */
  readonly retried?: readonly Code[];
  readonly onReply?: (message: SessionReply["message"]) => void;
  /** Told of each failed connection. */
  readonly onFailure?: (failure: ConnectError) => void;
  /** The entry as this connection, 1, 2 …, sends it; of the same size. A worker that resumes may say the same otherwise. */
  readonly revise?: (entry: EventInit, connection: number) => EventInit;
  /** Default: PublishTaskStream. */
  readonly call?: SessionRpc;
}

/** A call that speaks the session protocol; requests are those of PublishTaskStream. */
export type SessionRpc = (
  clients: Clients,
  requests: AsyncIterable<Request>,
  options: { readonly signal: AbortSignal },
) => AsyncIterable<{ readonly reply?: SessionReply | undefined }>;

const publishTaskStream: SessionRpc = ({ tasks }, requests, options) =>
  tasks.publishTaskStream(requests, options);

const lostConnection = [Code.Unavailable, Code.Canceled, Code.Aborted, Code.Internal, Code.DeadlineExceeded];

export class SessionWriter {
  sessionId = "";
  /** Everything up to this number is settled. */
  durable = 0;
  /** Of the last durable ack. */
  lastOffset = 0n;
  readonly finallyRejected = new Map<number, RejectionCode>();
  /** How often each non-final answer came. */
  readonly refusals = new Map<RejectionCode, number>();
  readonly states: SessionState[] = [];
  readonly problems: string[] = [];
  /** How often it was attached. */
  connections = 0;
  /** The last entry that it may send for now. */
  #limit = Number.POSITIVE_INFINITY;
  readonly #clients: () => Clients;
  readonly #options: SessionWriterOptions;
  readonly #bytesTo: number[] = [0];
  #accepted = 0;
  #next = 1;
  #allowed = 0;
  #allowedBytes = 0;
  #notBefore = 0;
  #requests: Request[] = [];
  #call: AbortController | undefined;
  #wake = () => {};
  #closing = false;
  #closed = false;
  #halfClosed = false;

  constructor(clients: Clients | (() => Clients), options: SessionWriterOptions) {
    this.#clients = typeof clients === "function" ? clients : () => clients;
    this.#options = options;
    for (const { payload } of options.entries) {
      const bytes = payload?.value === undefined ? 0 : Buffer.byteLength(payload.value);
      this.#bytesTo.push((this.#bytesTo.at(-1) ?? 0) + bytes);
    }
  }

  /** Until every entry is settled and the session closed. */
  async run(): Promise<void> {
    const retried = this.#options.retried ?? lostConnection;
    while (!this.#closed) {
      let pauseMs = 20;
      try {
        pauseMs = await this.#connect();
      } catch (error) {
        const failure = ConnectError.from(error);
        this.#options.onFailure?.(failure);
        if (this.#isDone(failure)) return;
        if (!retried.includes(failure.code))
          throw new Error(`session ${this.sessionId}: ${failure.message}`, { cause: error });
      }
      if (!this.#closed) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  /** The close was done and only its answer lost. */
  #isDone(failure: ConnectError): boolean {
    const [ended] = failure.findDetails(SessionEndedSchema);
    if (ended === undefined || Number(ended.lastSequence) !== this.#options.entries.length) return false;
    this.durable = Number(ended.lastSequence);
    return true;
  }

  /** Sends entries up to this one and then waits for a higher limit. */
  sendUpTo(limit: number): void {
    this.#limit = limit;
    this.#wake();
  }

  /** Breaks the connection off; `run` goes on with another one. */
  cut(): void {
    this.#call?.abort();
  }

  /** Ends the connection in an orderly way; `run` goes on with another one. */
  halfClose(): void {
    this.#halfClosed = true;
    this.#wake();
  }

  /** Sends anything else, for instance a flow message. */
  say(request: Request): void {
    this.#requests.push(request);
    this.#wake();
  }

  /** One connection, to its end. Answers how long to wait before the next one, ms. */
  async #connect(): Promise<number> {
    const abort = new AbortController();
    this.#call = abort;
    this.#requests = [];
    this.#allowed = 0;
    this.#allowedBytes = 0;
    this.#notBefore = 0;
    this.#closing = false;
    this.#halfClosed = false;
    let opened = false;
    let last: SessionReply["message"] | undefined;
    try {
      const { call = publishTaskStream } = this.#options;
      const replies = call(this.#clients(), this.#messages(abort.signal), { signal: abort.signal });
      for await (const { reply } of replies) {
        const message = reply?.message;
        if (message === undefined) continue;
        if (last?.case === "closed") this.problems.push(`${message.case} after closed`);
        if (opened !== (message.case !== "initAck")) this.problems.push(`${message.case} out of place`);
        opened = true;
        last = message;
        this.#options.onReply?.(message);
        this.#take(message);
        this.#wake();
      }
    } finally {
      abort.abort();
      this.#wake();
    }
    if (last?.case !== "closed") {
      this.problems.push(`the call ended OK after ${last?.case}`);
      return 20;
    }
    if (last.value.reason === SessionClosedReason.CLIENT) {
      this.#closed = true;
      if (Number(last.value.finalSequence) !== this.#options.entries.length)
        this.problems.push(`closed at ${last.value.finalSequence}`);
      if (last.value.discarded !== 0) this.problems.push(`discarded ${last.value.discarded}`);
    }
    return last.value.reconnectAfterMs;
  }

  async *#messages(signal: AbortSignal): AsyncGenerator<Request> {
    const { workflowId, session, entries } = this.#options;
    yield {
      operation: { case: "init", value: { workflowId, session: { ...session, sessionId: this.sessionId } } },
    };
    while (!signal.aborted) {
      const other = this.#requests.shift();
      if (other !== undefined) yield other;
      else if (this.#halfClosed) return;
      else if (this.#canSend()) yield this.#batch();
      else if (this.durable === entries.length && this.#allowed > 0 && !this.#closing) {
        this.#closing = true;
        yield {
          operation: { case: "close", value: { drain: true, lastSequence: BigInt(entries.length) } },
        };
      } else await this.#change();
    }
  }

  #canSend(): boolean {
    return (
      this.#next <= Math.min(this.#allowed, this.#limit, this.#options.entries.length) &&
      this.#to(this.#next) <= this.#allowedBytes &&
      Date.now() >= this.#notBefore
    );
  }

  #batch(): Request {
    const first = this.#next;
    const most = first + Math.max(1, this.#options.batchSize?.() ?? 100);
    const end = Math.min(most, this.#allowed + 1, this.#limit + 1, this.#options.entries.length + 1);
    // At least one (`#canSend`); a message stays below 1 MiB unless one entry is larger.
    do this.#next++;
    while (
      this.#next < end &&
      this.#to(this.#next) <= this.#allowedBytes &&
      this.#to(this.#next) - this.#to(first - 1) < 1024 * 1024
    );
    const { entries, revise } = this.#options;
    const given = entries.slice(first - 1, this.#next - 1);
    const events = revise === undefined ? given : given.map((entry) => revise(entry, this.connections));
    return { operation: { case: "batch", value: { firstSequence: BigInt(first), events } } };
  }

  #change(): Promise<void> {
    const waitMs = this.#notBefore - Date.now();
    return new Promise((resolve) => {
      const timer = waitMs > 0 ? setTimeout(resolve, waitMs) : undefined;
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Payload bytes of all entries up to this one. */
  #to(sequence: number): number {
    return this.#bytesTo[Math.min(sequence, this.#bytesTo.length - 1)] ?? 0;
  }

  #take(message: SessionReply["message"]): void {
    if (message.case === "initAck") {
      const { sessionId, lastSequence, credit, creditBytes, rejected } = message.value;
      if (this.sessionId !== "" && this.sessionId !== sessionId) this.problems.push("another session id");
      if (Number(lastSequence) < this.durable)
        this.problems.push(`init returned ${lastSequence} after ${this.durable} was durable`);
      this.connections++;
      this.sessionId = sessionId;
      this.durable = this.#accepted = Number(lastSequence);
      this.#next = this.durable + 1;
      this.#allowed = this.durable + credit;
      this.#allowedBytes = this.#to(this.durable) + Number(creditBytes);
      for (const { sequence, code } of rejected) this.finallyRejected.set(Number(sequence), code);
    } else if (message.case === "ack") {
      const { upToSequence, level, credit, creditBytes, lastOffset } = message.value;
      const upTo = Number(upToSequence);
      if (upTo >= this.#next) this.problems.push(`ack of ${upTo}, sent up to ${this.#next - 1}`);
      if (level === AckLevel.DURABLE) {
        if (upTo < this.durable) this.problems.push(`durable ${upTo} after ${this.durable}`);
        if (lastOffset < this.lastOffset) this.problems.push(`offset ${lastOffset} after ${this.lastOffset}`);
        this.lastOffset = lastOffset;
        this.durable = upTo;
      } else {
        if (upTo < this.#accepted) this.problems.push(`accepted ${upTo} after ${this.#accepted}`);
        if (upTo < this.durable) this.problems.push(`accepted ${upTo} after durable ${this.durable}`);
        this.#accepted = upTo;
      }
      if (upTo + credit < this.#allowed)
        this.problems.push(`credit to ${upTo + credit} after ${this.#allowed}`);
      this.#allowed = upTo + credit;
      this.#allowedBytes = this.#to(upTo) + Number(creditBytes);
    } else if (message.case === "rejected") {
      const { sequence, expectedSequence, code, final, retryAfterMs } = message.value;
      if (final) {
        this.finallyRejected.set(Number(sequence), code);
        return;
      }
      this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
      if (code === RejectionCode.CREDIT_EXCEEDED || code === RejectionCode.BAD_MESSAGE)
        this.problems.push(`refused: ${message.value.message}`);
      if (code === RejectionCode.SEQUENCE_DUPLICATE || code === RejectionCode.BAD_MESSAGE) return;
      this.#next = Number(expectedSequence);
      this.#notBefore = Date.now() + Math.max(10, retryAfterMs);
      this.#closing = false;
    } else if (message.case === "status") {
      this.states.push(message.value.state);
    }
  }
}
