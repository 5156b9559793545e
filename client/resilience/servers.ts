/**
 * The servers that the client may ask: one of them at a time, the next one when it fails or stops. Each has a circuit
 * breaker of its own: a server that failed several times in a row is left alone for a while, then asked with one call,
 * whose outcome decides for all. So a server that comes back is not met by everybody at once.
 */
import { Code, ConnectError, createContextKey, type Transport } from "@connectrpc/connect";
import {
  BrokenCircuitError,
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhen,
  TaskCancelledError,
} from "cockatiel";
import { abortable } from "../abort.ts";
import { asConnectError, classify, isFromServer } from "./errors.ts";
import type { BreakerState, Resilience } from "./options.ts";

export interface Endpoint {
  readonly transport: Transport;
  /** Ends the connection with all its calls. */
  close(): void;
}

export class Server {
  readonly url: string;
  readonly transport: Transport;
  readonly close: () => void;
  readonly #breaker: CircuitBreakerPolicy;

  constructor(url: string, { transport, close }: Endpoint, { breaker, tell }: Resilience) {
    this.url = url;
    this.transport = transport;
    this.close = close;
    this.#breaker = circuitBreaker(handleWhen(isServersFault), {
      breaker: new ConsecutiveBreaker(breaker.failures),
      halfOpenAfter: breaker.halfOpenAfterMs,
    });
    this.#breaker.onStateChange((state) => tell({ kind: "breaker", url, state: toState(state) }));
  }

  get breaker(): BreakerState {
    return toState(this.#breaker.state);
  }

  /** Runs one attempt, or refuses it as UNAVAILABLE while the circuit is open. */
  async attempt<T>(act: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const isAbandoned = () => signal?.aborted === true;
    const run = async () => {
      if (isAbandoned()) throw new Abandoned();
      try {
        return await act();
      } catch (error) {
        throw isAbandoned() ? new Abandoned() : error;
      }
    };
    try {
      return await abortable(this.#breaker.execute(run), signal);
    } catch (error) {
      if (error instanceof BrokenCircuitError || error instanceof TaskCancelledError) {
        throw new ConnectError(
          `${this.url} failed ${this.#breaker.state === CircuitState.Open ? "several times in a row" : "again"} and is left alone for a while`,
          Code.Unavailable,
        );
      }
      throw error;
    }
  }
}

/** A stream that goes to this server: its opening is an attempt of that one. */
export const serverKey = createContextKey<Server | undefined>(undefined);

export class Servers {
  readonly all: readonly Server[];
  #at = 0;

  constructor(all: readonly Server[]) {
    if (all.length === 0) throw new TypeError("baseUrl: give at least one address");
    this.all = all;
  }

  /** Whom to ask now: the current one, unless its circuit is open and another's is not. */
  pick(): Server {
    const { all } = this;
    for (let i = 0; i < all.length; i++) {
      const at = (this.#at + i) % all.length;
      const server = all[at] as Server;
      if (server.breaker === "open") continue;
      this.#at = at;
      return server;
    }
    return all[this.#at] as Server;
  }

  /** It failed or stops: from now on the next one is asked. */
  leave(server: Server): void {
    if (this.all[this.#at] === server) this.#at = (this.#at + 1) % this.all.length;
  }

  close(): void {
    for (const server of this.all) server.close();
  }
}

/** The caller gave up: that says nothing about the server. */
class Abandoned extends Error {}

/** Is the server away? An answer, whatever it says, shows that it is not; a refusal of a full one too. */
export function isServersFault(error: unknown): boolean {
  if (error instanceof Abandoned) return false;
  const failure = asConnectError(error);
  if (isFromServer(failure)) return failure.code === Code.Unavailable;
  const kind = classify(failure);
  return kind === "transient" || kind === "timeout";
}

function toState(state: CircuitState): BreakerState {
  if (state === CircuitState.Closed) return "closed";
  return state === CircuitState.HalfOpen ? "half-open" : "open";
}
