/** A session as a client drives it by hand: says what it wants, keeps what it hears. Cut at the end of its test. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { onTestFinished } from "vitest";
import { AckLevel, EventType } from "../../gen/tributary/v1/event_pb.ts";
import {
  FlowAction,
  type RejectionCode,
  type SessionAck,
  type SessionCancelRequested,
  type SessionClosed,
  type SessionInitAck,
  type SessionRejected,
  type SessionReply,
  type SessionStatus,
} from "../../gen/tributary/v1/session_pb.ts";
import type {
  PublishTaskStreamRequestSchema,
  TaskEventSchema,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { RequestQueue } from "./request-queue.ts";
import type { Clients } from "./server.ts";

type Request = MessageInitShape<typeof PublishTaskStreamRequestSchema>;
type Operation = NonNullable<Request["operation"]>;
type Case = NonNullable<Operation["case"]>;
type Value<C extends Case> = Extract<Operation, { case: C }>["value"];
type EventInit = MessageInitShape<typeof TaskEventSchema>;

interface Answers {
  initAck: SessionInitAck;
  ack: SessionAck;
  rejected: SessionRejected;
  status: SessionStatus;
  cancelRequested: SessionCancelRequested;
  closed: SessionClosed;
}

export class SessionCall {
  readonly replies: SessionReply["message"][] = [];
  /** Resolves when the call has ended; rejects with its status. */
  readonly ended: Promise<void>;
  readonly #requests = new RequestQueue<Request>();
  readonly #abort = new AbortController();
  #heard = () => {};
  /** Valid flow messages said; each has its answer. */
  #flows = 0;

  constructor({ tasks }: Clients) {
    onTestFinished(() => this.cut());
    this.ended = (async () => {
      for await (const { reply } of tasks.publishTaskStream(this.#requests, {
        signal: this.#abort.signal,
      })) {
        if (reply !== undefined) this.replies.push(reply.message);
        const heard = this.#heard;
        this.#heard = () => {};
        heard();
      }
    })();
    this.ended.catch(() => {}); // who is interested awaits it
  }

  /** As `until`, but looks when an answer came, so that it can be used to measure. */
  async #until<T>(check: () => T, timeoutMs = 10_000): Promise<T> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      try {
        return check();
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await new Promise<void>((resolve) => {
          const before = this.#heard;
          const timer = setTimeout(resolve, 200);
          this.#heard = () => {
            clearTimeout(timer);
            before();
            resolve();
          };
        });
      }
    }
  }

  say<C extends Case>(name: C, value: Value<C>): void {
    this.send({ operation: { case: name, value } as Operation });
    if (name === "flow" && isValid(value as Value<"flow">)) this.#flows++;
  }

  send(request: Request): void {
    this.#requests.send(request);
  }

  /** Tokens with these texts, numbered from `first`. */
  batch(
    first: number,
    texts: readonly string[],
    change: { taskExecutionId?: string; type?: EventType } = {},
  ): void {
    this.events(
      first,
      texts.map((value) => aToken(value, change)),
    );
  }

  /** These entries, numbered from `first`. */
  events(first: number, events: EventInit[]): void {
    this.say("batch", { firstSequence: BigInt(first), events });
  }

  /**
   * Waits until the server has handled all that was said so far: by a flow message, which is answered in its turn. What
   * was not answered before it will not be. Not for where the state changes by itself.
   */
  async heard(): Promise<SessionStatus> {
    const before = Math.max(this.all("status").length, this.#flows);
    this.say("flow", { action: FlowAction.BUFFER_STATUS });
    return this.#until(() => {
      const answer = this.all("status")[before];
      if (answer === undefined) throw new Error("the server has not handled everything yet");
      return answer;
    });
  }

  /** The answer number `count` of this kind; waits for it. */
  async nth<N extends keyof Answers>(name: N, count: number): Promise<Answers[N]> {
    return this.#until(() => {
      const answers = this.all(name);
      const answer = answers[count - 1];
      if (answer === undefined) throw new Error(`${answers.length} of ${count} ${name}`);
      return answer;
    });
  }

  /** Codes of the rejections so far, with their numbers and those expected. */
  rejections(): [code: RejectionCode, sequence: number, expected: number, final: boolean][] {
    return this.all("rejected").map(({ code, sequence, expectedSequence, final }) => [
      code,
      Number(sequence),
      Number(expectedSequence),
      final,
    ]);
  }

  halfClose(): void {
    this.#requests.close();
  }

  /** Breaks the call off. */
  cut(): void {
    this.#abort.abort();
    this.halfClose();
  }

  all<N extends keyof Answers>(name: N): Answers[N][] {
    return this.replies.filter((reply) => reply.case === name).map(({ value }) => value as Answers[N]);
  }

  /** Waits for the answer to init. */
  async opened(): Promise<SessionInitAck> {
    const failed = this.ended.then(() => {
      const [ack] = this.all("initAck");
      if (ack === undefined) throw new Error("the call ended without an answer to init");
      return ack;
    });
    const answered = this.#until(() => {
      const [ack] = this.all("initAck");
      if (ack === undefined) throw new Error("no answer to init yet");
      return ack;
    });
    return Promise.race([failed, answered]);
  }

  /** Waits until everything up to this number is durable. */
  async durable(sequence: number, timeoutMs?: number): Promise<SessionAck> {
    return this.#acked(sequence, AckLevel.DURABLE, timeoutMs);
  }

  /** Waits until everything up to this number is in the server's queue. */
  async accepted(sequence: number): Promise<SessionAck> {
    return this.#acked(sequence, AckLevel.ACCEPTED);
  }

  #acked(sequence: number, wanted: AckLevel, timeoutMs?: number): Promise<SessionAck> {
    return this.#until(() => {
      const ack = this.all("ack").findLast(({ level }) => level === wanted);
      if (ack === undefined || ack.upToSequence < BigInt(sequence)) {
        throw new Error(`level ${wanted} up to ${ack?.upToSequence ?? 0}, not yet ${sequence}`);
      }
      return ack;
    }, timeoutMs);
  }

  /** The last message, after which the call ends OK. */
  async closed(): Promise<SessionClosed> {
    await this.ended;
    if (this.all("closed").length !== 1) throw new Error(`${this.all("closed").length} times closed`);
    const last = this.replies.at(-1);
    if (last?.case !== "closed") throw new Error(`the last message was ${last?.case}`);
    return last.value;
  }
}

const isValid = ({ action = 0, preferredRate = 0 }: Value<"flow">): boolean =>
  action >= FlowAction.PAUSE &&
  action <= FlowAction.BUFFER_STATUS &&
  preferredRate >= 0 &&
  Number.isFinite(preferredRate);

export const aToken = (value: string, change: EventInit = {}): EventInit => ({
  taskExecutionId: "task",
  type: EventType.TOKEN,
  payload: { case: "text", value },
  ...change,
});

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
