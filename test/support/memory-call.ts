/** Memory as a client drives it by hand: sessions of observations, recalls, flows. What is left open is cut by its test's end. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { onTestFinished } from "vitest";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import type {
  FlowRecallMessage,
  MemoryFlowRequestSchema,
  ObservationSchema,
  ObserveStreamInitSchema,
  RecalledObservation,
  RecallMessage,
  RecallStreamRequestSchema,
} from "../../gen/tributary/v1/memory_service_pb.ts";
import type {
  SessionAck,
  SessionClosed,
  SessionInitAck,
  SessionRejected,
  SessionReply,
} from "../../gen/tributary/v1/session_pb.ts";
import { RequestQueue } from "./request-queue.ts";
import type { Clients } from "./server.ts";
import { until } from "./until.ts";

export type ObservationInit = MessageInitShape<typeof ObservationSchema>;
export type RecallInit = MessageInitShape<typeof RecallStreamRequestSchema>;
type Request = MessageInitShape<typeof MemoryFlowRequestSchema>;
type Operation = NonNullable<Request["operation"]>;
type Case = NonNullable<Operation["case"]>;
type Value<C extends Case> = Extract<Operation, { case: C }>["value"];

interface Answers {
  initAck: SessionInitAck;
  ack: SessionAck;
  rejected: SessionRejected;
  closed: SessionClosed;
}

/** One call of ObserveStream or MemoryFlow; what the first cannot say must not be said on it. */
export class MemoryCall {
  readonly replies: SessionReply["message"][] = [];
  readonly recalled: FlowRecallMessage[] = [];
  /** Resolves when the call has ended; rejects with its status. */
  readonly ended: Promise<void>;
  readonly #requests = new RequestQueue<Request>();
  readonly #abort = new AbortController();

  constructor({ memory }: Clients, rpc: "observeStream" | "memoryFlow" = "memoryFlow") {
    onTestFinished(() => this.cut());
    const { signal } = this.#abort;
    this.ended = (async () => {
      if (rpc === "observeStream") {
        for await (const { reply } of memory.observeStream(this.#requests as never, { signal })) {
          if (reply !== undefined) this.replies.push(reply.message);
        }
        return;
      }
      for await (const { message } of memory.memoryFlow(this.#requests, { signal })) {
        if (message.case === "reply") this.replies.push(message.value.message);
        else if (message.case === "recall") this.recalled.push(message.value);
      }
    })();
    this.ended.catch(() => {}); // who is interested awaits it
  }

  say<C extends Case>(name: C, value: Value<C>): void {
    this.send({ operation: { case: name, value } as Operation });
  }

  send(request: Request): void {
    this.#requests.send(request);
  }

  batch(first: number, observations: ObservationInit[]): void {
    this.say("batch", { firstSequence: BigInt(first), observations });
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

  async opened(): Promise<SessionInitAck> {
    const failed = this.ended.then(() => {
      throw new Error("the call ended without an answer to init");
    });
    const answered = until(() => {
      const [ack] = this.all("initAck");
      if (ack === undefined) throw new Error("no answer to init yet");
      return ack;
    });
    failed.catch(() => {});
    return Promise.race([failed, answered]);
  }

  /** Waits until everything up to this number is settled. */
  async durable(sequence: number): Promise<SessionAck> {
    return until(() => {
      const ack = this.all("ack").findLast(({ level }) => level === AckLevel.DURABLE);
      if (ack === undefined || ack.upToSequence < BigInt(sequence)) {
        throw new Error(`durable up to ${ack?.upToSequence ?? 0}, not yet ${sequence}`);
      }
      return ack;
    }, 20_000);
  }

  async closed(): Promise<SessionClosed> {
    await this.ended;
    const last = this.replies.at(-1);
    if (last?.case !== "closed") throw new Error(`the last message was ${last?.case}`);
    return last.value;
  }

  /** What came of one recall of a flow. */
  of(label: string): FlowRecallMessage["result"][] {
    return this.recalled.filter((message) => message.label === label).map(({ result }) => result);
  }
}

export async function openObserving(
  clients: Clients,
  space = "",
  session: MessageInitShape<typeof ObserveStreamInitSchema>["session"] = {},
): Promise<MemoryCall> {
  const call = new MemoryCall(clients, "observeStream");
  call.say("init", { space, session: session ?? {} });
  await call.opened();
  return call;
}

/** Stores these with a session of their own, and returns the session's id when they are durable. */
export async function observe(
  clients: Clients,
  space: string,
  observations: readonly (ObservationInit | string)[],
): Promise<string> {
  const call = await openObserving(clients, space);
  const all = observations.map((each) => (typeof each === "string" ? { content: each } : each));
  // Each batch well within a message and the credit.
  let at = 0;
  while (at < all.length) {
    let end = at;
    let bytes = 0;
    while (end < all.length && end - at < 500 && bytes < 1_000_000) bytes += all[end++]?.content?.length ?? 0;
    call.batch(at + 1, all.slice(at, end));
    await call.durable(end);
    at = end;
  }
  call.say("close", { drain: true });
  await call.closed();
  return call.all("initAck")[0]?.sessionId ?? "";
}

/** A recall that is read to its end, or until it is left. */
export class Recalling {
  readonly messages: RecallMessage["message"][] = [];
  readonly ended: Promise<void>;
  readonly #abort = new AbortController();

  constructor({ memory }: Clients, request: RecallInit) {
    onTestFinished(() => this.leave());
    this.ended = (async () => {
      for await (const { message } of memory.recallStream(request, { signal: this.#abort.signal })) {
        if (message !== undefined) this.messages.push(message.message);
      }
    })();
    this.ended.catch(() => {}); // who is interested awaits it
  }

  leave(): void {
    this.#abort.abort();
  }

  get cases() {
    return this.messages.map(({ case: name }) => name);
  }

  get results(): RecalledObservation[] {
    return resultsOf(this.messages);
  }

  get complete() {
    const found = this.messages.find(({ case: name }) => name === "snapshotComplete");
    return found?.case === "snapshotComplete" ? found.value : undefined;
  }

  /** Matches after the snapshot. */
  get later(): RecalledObservation[] {
    const at = this.messages.findIndex(({ case: name }) => name === "snapshotComplete");
    return resultsOf(this.messages.slice(at + 1));
  }
}

export function resultsOf(messages: readonly RecallMessage["message"][]): RecalledObservation[] {
  return messages.flatMap((message) => (message.case === "results" ? message.value.results : []));
}

/** A recall without follow, read to its end. */
export async function recalled(clients: Clients, request: RecallInit): Promise<Recalling> {
  const recalling = new Recalling(clients, request);
  await recalling.ended;
  return recalling;
}

export const byText = (text: string) => ({ cue: { cue: { case: "text" as const, value: text } } });
export const contents = (results: readonly RecalledObservation[]) =>
  results.map(({ observation }) => observation?.content ?? "");
