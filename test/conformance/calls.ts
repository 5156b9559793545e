/** One call with a real client, whatever its kind: what was heard of it, errors included, as one value. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, ConnectError } from "@connectrpc/connect";
import type { Caller } from "./combinations.ts";
import type { Answer, OrderSchema } from "./schema.ts";

export type OrderInit = MessageInitShape<typeof OrderSchema>;
export type Kind = "ask" | "look" | "collect" | "recite" | "converse";

export interface Heard {
  readonly answers: Answer[];
  header: Headers;
  trailer: Headers;
  error: ConnectError | undefined;
}

/** The kinds that a client of this way can call. */
export const kindsOf = ({ isDuplex }: Caller): Kind[] =>
  isDuplex ? ["ask", "collect", "recite", "converse"] : ["ask", "collect", "recite"];

/** Sends the orders and ends its side. `onAnswer` is told of each answer as it comes. */
export async function listen(
  { client }: Caller,
  kind: Kind,
  orders: readonly OrderInit[] | AsyncIterable<OrderInit>,
  options: CallOptions = {},
  onAnswer: (answer: Answer) => void = () => {},
): Promise<Heard> {
  const heard: Heard = { answers: [], header: new Headers(), trailer: new Headers(), error: undefined };
  const observed: CallOptions = {
    ...options,
    onHeader: (header) => {
      heard.header = header;
    },
    onTrailer: (trailer) => {
      heard.trailer = trailer;
    },
  };
  const hear = (answer: Answer) => {
    heard.answers.push(answer);
    onAnswer(answer);
  };
  const [first = {}] = Array.isArray(orders) ? (orders as OrderInit[]) : [];
  const all = Symbol.asyncIterator in orders ? orders : stream(orders);
  try {
    if (kind === "ask" || kind === "look") hear(await client[kind](first, observed));
    else if (kind === "collect") hear(await client.collect(all, observed));
    else {
      const answers = kind === "recite" ? client.recite(first, observed) : client.converse(all, observed);
      for await (const answer of answers) hear(answer);
    }
  } catch (error) {
    heard.error = ConnectError.from(error);
  }
  return heard;
}

async function* stream(orders: readonly OrderInit[]): AsyncGenerator<OrderInit> {
  yield* orders;
}

/** A side that sends when the test says so. */
export class Speaker implements AsyncIterable<OrderInit> {
  readonly #waiting: OrderInit[] = [];
  #closed = false;
  #wake = () => {};

  say(order: OrderInit): void {
    this.#waiting.push(order);
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<OrderInit> {
    for (;;) {
      const order = this.#waiting.shift();
      if (order !== undefined) yield order;
      else if (this.#closed) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}
