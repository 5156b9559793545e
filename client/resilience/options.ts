/** What the client does about failures, in numbers. All of it can be set, and is told as it happens. */
import type { ConnectError } from "@connectrpc/connect";
import { type Backoff, defaultBackoff } from "./backoff.ts";
import type { FailureClass } from "./errors.ts";

export interface ResilienceOptions {
  /** Deadline of each attempt of a call that is no stream, ms. Default 30,000. */
  readonly timeoutMs?: number | undefined;
  /** A stream that has not said its first word after so long is given up and tried again, ms. Default 15,000. */
  readonly openTimeoutMs?: number | undefined;
  /** A stream that is silent for so long (its heartbeats come every 15 s) is given up and resumed, ms. Default 45,000. */
  readonly silenceMs?: number | undefined;
  /** Attempts of a call that is no stream, the first one included. Default 4. */
  readonly attempts?: number | undefined;
  /** Failures in a row, without progress in between, after which a stream or session gives up. Default: never. */
  readonly streamAttempts?: number | undefined;
  readonly backoff?: Partial<Backoff> | undefined;
  /** Of each server: after so many failed attempts in a row it is left alone for a while, then asked with one call. */
  readonly breaker?: Partial<BreakerOptions> | undefined;
  /** Hears of each retry, of what is given up, and of each change of a circuit breaker. */
  readonly onEvent?: ((event: ResilienceEvent) => void) | undefined;
}

export interface BreakerOptions {
  /** Default 5. */
  readonly failures: number;
  /** Default 2000. */
  readonly halfOpenAfterMs: number;
}

export type BreakerState = "closed" | "open" | "half-open";

export type ResilienceEvent =
  | {
      readonly kind: "retry" | "gave-up";
      /** Of the RPC, like "tributary.v1.WorkflowService/GetWorkflow", or what a stream is for. */
      readonly what: string;
      /** Failures so far, 1 or more. */
      readonly failures: number;
      readonly class: FailureClass;
      /** 0 with "gave-up". */
      readonly retryInMs: number;
      readonly error: ConnectError;
    }
  | { readonly kind: "breaker"; readonly url: string; readonly state: BreakerState };

const defaults = {
  timeoutMs: 30_000,
  openTimeoutMs: 15_000,
  silenceMs: 45_000,
  attempts: 4,
};
const defaultBreaker: BreakerOptions = { failures: 5, halfOpenAfterMs: 2000 };

/** All of it, with the defaults filled in. */
export interface Resilience {
  readonly timeoutMs: number;
  readonly openTimeoutMs: number;
  readonly silenceMs: number;
  readonly attempts: number;
  readonly streamAttempts: number;
  readonly backoff: Backoff;
  readonly breaker: BreakerOptions;
  readonly random: () => number;
  tell(event: ResilienceEvent): void;
}

export function toResilience(
  options: ResilienceOptions = {},
  random: () => number = Math.random,
): Resilience {
  return {
    timeoutMs: options.timeoutMs ?? defaults.timeoutMs,
    openTimeoutMs: options.openTimeoutMs ?? defaults.openTimeoutMs,
    silenceMs: options.silenceMs ?? defaults.silenceMs,
    attempts: options.attempts ?? defaults.attempts,
    streamAttempts: options.streamAttempts ?? Number.POSITIVE_INFINITY,
    backoff: { ...defaultBackoff, ...options.backoff },
    breaker: { ...defaultBreaker, ...options.breaker },
    random,
    tell: (event) => options.onEvent?.(event),
  };
}
