/**
 * The one loop of everything that is read: opens a call, hands its messages to a `Reading`, and opens the next one where
 * that stands, until the stream has ended.
 *
 * Guarantees: what trying again cannot heal is thrown; leaving, by `break`, by an error or by the signal, ends the call. With
 * the signal the items simply stop: who gave it knows why. A call that ends well but without a last message was cut, not
 * finished: it is resumed like any lost connection. Nothing is kept: the next message is read when the consumer asks for
 * the next item.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import { type Closing, ClosingReason } from "../../gen/tributary/v1/event_pb.ts";
import { sleep } from "../abort.ts";
import type { Credential } from "../credential.ts";
import { backoffMs } from "../resilience/backoff.ts";
import { asConnectError, classify, isRetryable, retryAfterMs } from "../resilience/errors.ts";
import type { Resilience } from "../resilience/options.ts";
import type { Servers } from "../resilience/servers.ts";
import { type Call, streamCall } from "../stream-call.ts";

/** What one kind of stream makes of its messages. */
export interface Reading<M, I> {
  /** For observers, like "followTree 0198…". */
  readonly what: string;
  /** Where it stands: what was taken lies at or before it. */
  readonly position: bigint;
  /** Nothing is known that is not told yet. */
  readonly isLive: boolean;
  /** A call that begins where it stands. */
  open(call: Call): AsyncIterable<M>;
  take(message: M): Step<I>;
  /** The consumer has dealt with everything it was given. */
  settle?(): Promise<void>;
  /** Before the first call. */
  prepare?(): Promise<void>;
}

export interface Step<I> {
  readonly items?: readonly I[];
  /** The last ones. */
  readonly ended?: boolean;
  readonly closing?: Closing;
  /** More than an opening: the stream moves. */
  readonly progress?: boolean;
}

/** Told between the items: the connection is lost, or the server asked to come again; it is resumed by itself. */
export interface Interrupted {
  readonly kind: "interrupted";
  readonly afterOffset: bigint;
  readonly retryInMs: number;
  /** What the server said before it ended the call, or how it broke; undefined: it ended without a word. */
  readonly reason: Closing | ConnectError | undefined;
}

export type StreamState = "connecting" | "catching-up" | "live" | "closed";

export interface ReadDeps {
  readonly resilience: Resilience;
  readonly servers?: Servers | undefined;
  readonly credential?: Credential | undefined;
}

export async function* read<M, I>(
  reading: Reading<M, I>,
  deps: ReadDeps,
  signal: AbortSignal | undefined,
  tellState: (state: StreamState) => void = () => {},
): AsyncGenerator<I | Interrupted, void> {
  const isStopped = () => signal?.aborted === true;
  const failures = new Failures(deps, reading.what);
  try {
    await reading.prepare?.();
    while (!isStopped()) {
      tellState("connecting");
      let reason: Closing | ConnectError | undefined;
      const call = streamCall((own) => reading.open(own), deps, signal);
      try {
        for await (const message of call.messages) {
          const { items = [], ended, closing, progress } = reading.take(message);
          if (progress === true) failures.forget(); // an answer alone is none
          if (closing !== undefined) reason = closing;
          else tellState(reading.isLive ? "live" : "catching-up");
          for (const item of items) {
            yield item;
            if (isStopped()) return;
          }
          await reading.settle?.();
          if (ended === true) return;
        }
      } catch (error) {
        if (isStopped()) return;
        if (error instanceof LocalError) throw error.cause;
        reason = asConnectError(error);
      }
      if (isStopped()) return;
      if (isClosing(reason) && reason.reason === ClosingReason.DRAINING) call.leave();
      const retryInMs = failures.add(reason);
      tellState("connecting");
      yield { kind: "interrupted", afterOffset: reading.position, retryInMs, reason };
      await sleep(retryInMs, signal);
    }
  } finally {
    tellState("closed");
  }
}

/** What went wrong on this side, in a store of positions for instance: not a failure of the connection. */
export class LocalError extends Error {}

/** Counts failures in a row, and decides what they mean. */
export class Failures {
  readonly #deps: ReadDeps;
  readonly #what: string;
  #count = 0;
  #refused = false;

  constructor(deps: ReadDeps, what: string) {
    this.#deps = deps;
    this.#what = what;
  }

  forget(): void {
    this.#count = 0;
    this.#refused = false;
  }

  /** How long to wait, ms; throws what trying again cannot heal. */
  add(reason: Closing | ConnectError | undefined): number {
    const { resilience, credential } = this.#deps;
    this.#count += 1;
    const backoff = backoffMs(this.#count, resilience.random, resilience.backoff);
    if (isClosing(reason)) {
      if (reason.reason === ClosingReason.CREDENTIAL_EXPIRED) credential?.renew();
      // The server spreads its readers itself.
      return reason.reconnectAfterMs || backoff;
    }
    const error = reason ?? new ConnectError("the call ended without a last word", Code.Unavailable);
    if (!this.#refused && credential?.mayHelp(error) === true) {
      this.#refused = true;
      return 0;
    }
    const retryInMs = Math.max(backoff, retryAfterMs(error));
    const told = { what: this.#what, failures: this.#count, class: classify(error), error };
    if (!isRetryable(error)) throw error;
    if (this.#count >= resilience.streamAttempts) {
      resilience.tell({ kind: "gave-up", ...told, retryInMs: 0 });
      throw error;
    }
    resilience.tell({ kind: "retry", ...told, retryInMs });
    return retryInMs;
  }
}

const isClosing = (reason: Closing | ConnectError | undefined): reason is Closing =>
  reason !== undefined && "reconnectAfterMs" in reason;
