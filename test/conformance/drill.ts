/**
 * The drill service: does what an order says, and lets the test see what became of the handler. It maps its errors as the
 * product's streams do (server/rpc), so that what a caller sees of them is what the product would send.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import { DomainError, type ErrorCode } from "../../server/core/errors.ts";
import { type LogBug, toConnectError } from "../../server/rpc/error-mapping.ts";
import {
  type AnswerSchema,
  DetailSchema,
  DrillService,
  type Failure,
  type Field,
  type Order,
  Silence,
} from "./schema.ts";

/** What a test sees of a handler. */
export interface Watched {
  /** Orders that it has read. */
  orders: number;
  /** Code that its signal was aborted with, while it was at work; undefined: it was not. */
  abortedWith: Code | undefined;
  ended: boolean;
  /** Code that it ended with; undefined: well. */
  failedWith: Code | undefined;
}

type Reply = MessageInitShape<typeof AnswerSchema>;

export class Drill {
  /** By the name in the order. */
  readonly watched = new Map<string, Watched>();
  /** Handlers at work. */
  running = 0;
  readonly #logBug: LogBug;

  constructor(logBug: LogBug) {
    this.#logBug = logBug;
  }

  readonly routes = (router: ConnectRouter): void => {
    const single = async (orders: AsyncIterable<Order> | Order, context: HandlerContext): Promise<Reply> => {
      let reply: Reply = {};
      for await (const answer of this.#perform(orders, context, 1)) reply = answer;
      return reply;
    };
    router.service(DrillService, {
      ask: single,
      look: single,
      collect: single,
      recite: (order, context) => this.#perform(order, context),
      converse: (orders, context) => this.#perform(orders, context),
    });
  };

  /** `answers`: how many; the default is what the first order says. */
  async *#perform(
    input: AsyncIterable<Order> | Order,
    context: HandlerContext,
    answers?: number,
  ): AsyncGenerator<Reply> {
    const watched: Watched = { orders: 0, abortedWith: undefined, ended: false, failedWith: undefined };
    context.signal.addEventListener("abort", () => {
      if (!watched.ended) watched.abortedWith = ConnectError.from(context.signal.reason, Code.Canceled).code;
    });
    this.running += 1;
    try {
      let first: Order | undefined;
      let taken: Order[] = [];
      let number = 0;
      const reply = (): Reply => {
        number += 1;
        const answer = toAnswer(context, number, first?.answerBytes ?? 0, taken);
        taken = [];
        return answer;
      };
      for await (const order of Symbol.asyncIterator in input ? input : [input]) {
        watched.orders += 1;
        taken.push(order);
        if (first === undefined) {
          first = order;
          if (order.call !== "") this.watched.set(order.call, watched);
          append(context.responseHeader, order.headers);
          append(context.responseTrailer, order.trailers);
          if (order.silence === Silence.BEFORE_ANSWERS) await aborted(context.signal);
        }
        if (first.inTurns) yield reply();
        if (watched.orders === first.enough) break;
      }
      // The input of a call that was broken off may end as if it were whole.
      context.signal.throwIfAborted();
      const failsAtOnce = answers !== undefined && first?.failure !== undefined;
      const wanted = failsAtOnce ? 0 : (answers ?? first?.answers ?? 0);
      while (number < wanted) yield reply();
      if (first?.silence === Silence.AFTER_ANSWERS) await aborted(context.signal);
      if (first?.failure !== undefined) throw toError(first.failure);
    } catch (error) {
      // What a reader of the input throws when the client leaves is Node's, not a bug: the reason is the signal's.
      const mapped = toConnectError(context.signal.aborted ? context.signal.reason : error, this.#logBug);
      watched.failedWith = mapped.code;
      throw mapped;
    } finally {
      watched.ended = true;
      this.running -= 1;
    }
  }
}

function toAnswer(context: HandlerContext, number: number, length: number, taken: readonly Order[]): Reply {
  const timeoutMs = context.timeoutMs();
  return {
    number,
    notes: taken.map(({ note }) => note),
    bytes: taken.reduce((sum, { filler }) => sum + filler.length, 0),
    filler: new Uint8Array(length).fill(7),
    headers: Object.fromEntries(context.requestHeader),
    protocol: context.protocolName,
    httpMethod: context.requestMethod,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
}

function append(to: Headers, fields: readonly Field[]): void {
  for (const { name, values } of fields) for (const value of values) to.append(name, value);
}

function toError({ kind, message, metadata, details }: Failure): Error {
  if (kind.case === "domain")
    return new DomainError(kind.value as ErrorCode, message, { retryAfterMs: 1500 });
  if (kind.case === "bug") return new Error(message);
  const error = new ConnectError(message, kind.value as Code);
  append(error.metadata, metadata);
  error.details.push(...details.map((value) => ({ desc: DetailSchema, value })));
  return error;
}

/** Never resolves. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const leave = () => reject(signal.reason as Error);
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave);
  });
}
