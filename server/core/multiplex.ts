/**
 * Several subscriptions over one call, each under a label, added and removed while it runs.
 *
 * Guarantees: a label's messages are those that its subscription would send alone, ending with `ended`, `closing`, an error
 * or `unsubscribed`, after which the label is free; whatever happens to one label, the others go on; none keeps another
 * from its turn: each has at most one message waiting here, and they go out in the order in which they became ready. All
 * together hold the events of a few messages, however many they are and however slowly the client reads: see gate.ts.
 *
 * After a half-close the subscriptions go on until they end. When the server ends the call, each is told by its own last
 * message; if there is none, the call itself is, under the empty label, which no subscription can have.
 */
import { DomainError } from "./errors.ts";
import { Fifo } from "./fifo.ts";
import type { FollowMessage } from "./follow.ts";
import { type CallTurns, type Gate, SharedGate } from "./gate.ts";
import { limits } from "./limits.ts";
import type { OpenCall } from "./open-call.ts";
import { type Turn, Turns } from "./turns.ts";
import { Wakeup } from "./wakeup.ts";

/** Begins a subscription, which passes the gate before it takes events. */
export type Start = (gate: Gate, signal: AbortSignal) => AsyncGenerator<FollowMessage>;

export type MultiplexInput =
  | {
      readonly kind: "subscribe";
      readonly label: string;
      /** undefined: not limited until something is granted. */
      readonly initialGrant: number | undefined;
      /** An error if the target is malformed. */
      readonly start: Start | DomainError;
    }
  | { readonly kind: "unsubscribe"; readonly label: string }
  | { readonly kind: "grant"; readonly label: string; readonly events: number }
  /** Something that concerns no label. */
  | { readonly kind: "bad"; readonly error: DomainError };

export type MultiplexOutput =
  | { readonly kind: "message"; readonly label: string; readonly message: FollowMessage }
  | { readonly kind: "error"; readonly label: string; readonly error: unknown }
  | { readonly kind: "unsubscribed"; readonly label: string };

/** The label of what concerns the call. */
const noLabel = "";

/** Takes the first inputs at once, the further ones as they come. */
export async function* multiplex(
  call: Pick<OpenCall, "closing" | "onClosing">,
  first: Iterable<MultiplexInput>,
  further: AsyncIterable<MultiplexInput> | undefined,
  signal: AbortSignal,
): AsyncGenerator<MultiplexOutput> {
  const multiplexer = new Multiplexer(call, signal);
  try {
    for (const input of first) multiplexer.take(input);
    yield* multiplexer.run(further);
  } finally {
    await multiplexer.leave();
  }
}

interface Subscription {
  readonly label: string;
  readonly messages: AsyncGenerator<FollowMessage>;
  readonly gate: SharedGate;
  readonly abort: AbortController;
  /** To open; given back with the first message. */
  opening: Turn | undefined;
  /** Its next message was asked for. While it opens, nothing can stop that: it hears no signal in the database. */
  pulling: boolean;
  /** A message of it is in `ready`. */
  waits: boolean;
  gone: boolean;
}

type Ready =
  | { readonly of: Subscription; readonly result: IteratorResult<FollowMessage> }
  | { readonly of: Subscription; readonly error: unknown }
  | { readonly answer: MultiplexOutput };

class Multiplexer {
  readonly #call: Pick<OpenCall, "closing" | "onClosing">;
  readonly #signal: AbortSignal;
  readonly #wakeup = new Wakeup();
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #leaving = new Set<Promise<unknown>>();
  readonly #turns: CallTurns = {
    window: new Turns(limits.multiplexTurns),
    store: new Turns(limits.multiplexTurns),
  };
  /** Opening asks the database: many at once would keep it from others. */
  readonly #openings = new Turns(limits.multiplexOpenings);
  readonly #ready = new Fifo<Ready>();
  /** Answers to requests in `ready`, and who waits until they are few. */
  #answers = 0;
  readonly #roomForAnswers = new Wakeup();
  readonly #stopListening: () => void;
  #halfClosed = false;
  #left = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(call: Pick<OpenCall, "closing" | "onClosing">, signal: AbortSignal) {
    this.#call = call;
    this.#signal = signal;
    this.#stopListening = call.onClosing(() => this.#wakeup.ring());
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  async *run(inputs: AsyncIterable<MultiplexInput> | undefined): AsyncGenerator<MultiplexOutput> {
    if (inputs === undefined) this.#halfClosed = true;
    else void this.#read(inputs);
    let wasTold = false;
    while (!this.#signal.aborted) {
      if (this.#failure !== undefined) throw this.#failure.error;
      const ready = this.#ready.shift();
      if (ready === undefined) {
        const { closing } = this.#call;
        if (this.#subscriptions.size === 0 && closing !== undefined) {
          if (!wasTold) yield { kind: "message", label: noLabel, message: { kind: "closing", ...closing } };
          return;
        }
        if (this.#subscriptions.size === 0 && this.#halfClosed) return;
        await this.#wakeup.wait();
      } else if ("answer" in ready) {
        this.#answers--;
        this.#roomForAnswers.ring();
        yield ready.answer;
      } else {
        const {
          of,
          of: { label },
        } = ready;
        of.waits = false;
        if ("error" in ready) {
          this.#drop(of);
          yield { kind: "error", label, error: ready.error };
        } else if (ready.result.done === true) {
          this.#drop(of);
        } else {
          const message = ready.result.value;
          // Free before the client can know that it is.
          if (message.kind === "ended" || message.kind === "closing") this.#drop(of);
          wasTold ||= message.kind === "closing" && this.#call.closing !== undefined;
          yield { kind: "message", label, message };
          this.#pull(of);
        }
      }
    }
    this.#signal.throwIfAborted();
  }

  /** Lets everything go; resolves when nothing of it is left. */
  async leave(): Promise<void> {
    this.#left = true;
    this.#stopListening();
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#roomForAnswers.ring();
    for (const subscription of [...this.#subscriptions.values()]) this.#drop(subscription);
    await Promise.all(this.#leaving);
  }

  readonly #onAbort = () => {
    this.#wakeup.ring();
    this.#roomForAnswers.ring();
    for (const { abort } of this.#subscriptions.values()) abort.abort(this.#signal.reason);
  };

  // --- what the client says

  async #read(inputs: AsyncIterable<MultiplexInput>): Promise<void> {
    try {
      for await (const input of inputs) {
        // Answers that a client does not read are few: then its requests wait.
        while (this.#answers >= limits.multiplexAnswers && !this.#left && !this.#signal.aborted) {
          await this.#roomForAnswers.wait();
        }
        if (this.#left || this.#signal.aborted) return;
        this.take(input);
      }
      this.#halfClosed = true;
    } catch (error) {
      this.#failure = { error };
    }
    this.#wakeup.ring();
  }

  take(input: MultiplexInput): void {
    switch (input.kind) {
      case "subscribe":
        this.#subscribe(input.label, input.initialGrant, input.start);
        break;
      case "unsubscribe": {
        const subscription = this.#subscriptions.get(input.label);
        if (subscription === undefined) return; // it may just have ended
        this.#drop(subscription);
        this.#answer({ kind: "unsubscribed", label: input.label });
        break;
      }
      case "grant":
        this.#subscriptions.get(input.label)?.gate.grant(input.events);
        break;
      case "bad":
        this.#answer({ kind: "error", label: noLabel, error: input.error });
    }
  }

  #subscribe(label: string, initialGrant: number | undefined, start: Start | DomainError): void {
    if (this.#subscriptions.has(label)) {
      throw new DomainError(
        "already_exists",
        `subscribe.label: ${JSON.stringify(label)} is in use on this call; unsubscribe it first, or choose another one`,
      );
    }
    const error = start instanceof DomainError ? start : this.#whyFull();
    if (error !== undefined) {
      this.#answer({ kind: "error", label: shortened(label), error });
      return;
    }
    const gate = new SharedGate(this.#turns, initialGrant);
    const abort = new AbortController();
    const messages = (start as Start)(gate, abort.signal);
    const subscription: Subscription = {
      label,
      messages,
      gate,
      abort,
      opening: undefined,
      pulling: false,
      waits: false,
      gone: false,
    };
    this.#subscriptions.set(label, subscription);
    subscription.opening = this.#openings.ask(() => this.#pull(subscription));
    if (subscription.opening.held) this.#pull(subscription);
  }

  #whyFull(): DomainError | undefined {
    if (this.#subscriptions.size < limits.multiplexLabels) return undefined;
    return new DomainError(
      "resource_exhausted",
      `subscribe: ${limits.multiplexLabels} are open on this call, more are not possible; unsubscribe some, or open another call`,
      { retryAfterMs: 1000 },
    );
  }

  #answer(answer: MultiplexOutput): void {
    this.#answers++;
    this.#push({ answer });
  }

  // --- subscriptions

  /** Asks for the next message: its last one is with the transport, so the turn that it took is over. */
  #pull(of: Subscription): void {
    if (of.gone) {
      of.opening?.release();
      return;
    }
    of.pulling = true;
    const onReady = (ready: Ready) => {
      of.pulling = false;
      of.opening?.release();
      if (of.gone) return;
      of.waits = true;
      this.#push(ready);
    };
    of.messages.next().then(
      (result) => onReady({ of, result }),
      (error: unknown) => onReady({ of, error }),
    );
  }

  #push(ready: Ready): void {
    this.#ready.push(ready);
    this.#wakeup.ring();
  }

  /** Stops it, and cleans up beside: the next message need not wait for that. */
  #drop(of: Subscription): void {
    if (of.gone) return;
    of.gone = true;
    this.#subscriptions.delete(of.label);
    if (of.waits) this.#ready.takeOut((ready) => "of" in ready && ready.of === of);
    if (!of.pulling) of.opening?.release();
    of.abort.abort();
    const returned = of.messages.return(undefined).catch(() => {}); // it was dropped: nobody asks how it ended
    this.#leaving.add(returned);
    void returned.finally(() => this.#leaving.delete(returned));
  }
}

/** A label that is too long is told so under its beginning: answers wait here while the client does not read. */
const shortened = (label: string): string => (label.length <= 256 ? label : label.slice(0, 64));
