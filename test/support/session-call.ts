/** A session as a client drives it by hand: says what it wants, keeps what it hears. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { AckLevel, EventType } from "../../gen/tributary/v1/event_pb.ts";
import type {
  SessionAck,
  SessionClosed,
  SessionInitAck,
  SessionRejected,
  SessionReply,
  SessionStatus,
} from "../../gen/tributary/v1/session_pb.ts";
import type { PublishTaskStreamRequestSchema } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import type { Clients } from "./server.ts";
import { until } from "./until.ts";

type Request = MessageInitShape<typeof PublishTaskStreamRequestSchema>;
type Operation = NonNullable<Request["operation"]>;
type Case = NonNullable<Operation["case"]>;
type Value<C extends Case> = Extract<Operation, { case: C }>["value"];

export class SessionCall {
  readonly replies: SessionReply["message"][] = [];
  /** Resolves when the call has ended; rejects with its status. */
  readonly ended: Promise<void>;
  readonly #queue: Request[] = [];
  readonly #abort = new AbortController();
  #wake = () => {};
  #halfClosed = false;

  constructor({ tasks }: Clients) {
    this.ended = (async () => {
      for await (const { reply } of tasks.publishTaskStream(this.#requests(), {
        signal: this.#abort.signal,
      })) {
        if (reply !== undefined) this.replies.push(reply.message);
      }
    })();
    this.ended.catch(() => {}); // who is interested awaits it
  }

  async *#requests(): AsyncGenerator<Request> {
    for (;;) {
      const next = this.#queue.shift();
      if (next !== undefined) yield next;
      else if (this.#halfClosed) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }

  say<C extends Case>(name: C, value: Value<C>): void {
    this.send({ operation: { case: name, value } as Operation });
  }

  send(request: Request): void {
    this.#queue.push(request);
    this.#wake();
  }

  /** Tokens with these texts, numbered from `first`. */
  batch(
    first: number,
    texts: readonly string[],
    change: { taskExecutionId?: string; type?: EventType } = {},
  ): void {
    this.say("batch", {
      firstSequence: BigInt(first),
      events: texts.map((value) => ({
        taskExecutionId: "task",
        type: EventType.TOKEN,
        payload: { case: "text" as const, value },
        ...change,
      })),
    });
  }

  halfClose(): void {
    this.#halfClosed = true;
    this.#wake();
  }

  /** Breaks the call off. */
  cut(): void {
    this.#abort.abort();
    this.halfClose();
  }

  all(name: "rejected"): SessionRejected[];
  all(name: "status"): SessionStatus[];
  all(name: "ack"): SessionAck[];
  all(name: "closed"): SessionClosed[];
  all(name: "initAck"): SessionInitAck[];
  all(name: "cancelRequested"): { workflowId: string; reason: string }[];
  all(name: string): unknown[] {
    return this.replies.filter((reply) => reply.case === name).map(({ value }) => value);
  }

  /** Waits for the answer to init. */
  async opened(): Promise<SessionInitAck> {
    const failed = this.ended.then(() => {
      const [ack] = this.all("initAck");
      if (ack === undefined) throw new Error("the call ended without an answer to init");
      return ack;
    });
    const answered = until(() => {
      const [ack] = this.all("initAck");
      if (ack === undefined) throw new Error("no answer to init yet");
      return ack;
    });
    return Promise.race([failed, answered]);
  }

  /** Waits until everything up to this number is durable. */
  async durable(sequence: number): Promise<SessionAck> {
    return until(() => {
      const ack = this.all("ack").findLast(({ level }) => level === AckLevel.DURABLE);
      if (ack === undefined || ack.upToSequence < BigInt(sequence)) {
        throw new Error(`durable up to ${ack?.upToSequence ?? 0}, not yet ${sequence}`);
      }
      return ack;
    });
  }

  async closed(): Promise<SessionClosed> {
    await this.ended;
    const last = this.replies.at(-1);
    if (last?.case !== "closed") throw new Error(`the last message was ${last?.case}`);
    return last.value;
  }
}

/** Begins a session, or resumes one, and waits for the answer. */
export async function openSession(
  clients: Clients,
  workflowId: string,
  session: Value<"init">["session"] = {},
): Promise<SessionCall> {
  const call = new SessionCall(clients);
  call.say("init", { workflowId, session: session ?? {} });
  await call.opened();
  return call;
}
