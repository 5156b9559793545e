/**
 * One transport over all servers. Calls that are no streams get a deadline and are retried where that is safe, each attempt
 * at the server that is current then; streams go to the current one, and resume by themselves a layer above.
 */
import type { DescMessage, DescMethodStreaming, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  type StreamResponse,
  type Transport,
  type UnaryResponse,
} from "@connectrpc/connect";
import { DelegateBackoff, handleWhen, type IRetryBackoffContext, retry } from "cockatiel";
import { abortable, linked } from "../abort.ts";
import type { Credential } from "../credential.ts";
import { backoffMs } from "./backoff.ts";
import { asConnectError, classify, isRetryable, retryAfterMs } from "./errors.ts";
import type { Resilience } from "./options.ts";
import { didNothing, isRepeatable } from "./repeatable.ts";
import { isServersFault, type Servers, serverKey } from "./servers.ts";

export interface TransportDeps {
  readonly servers: Servers;
  readonly credential: Credential;
  readonly resilience: Resilience;
  /** The client is closed. */
  readonly closed: AbortSignal;
}

export class ResilientTransport implements Transport {
  readonly #deps: TransportDeps;

  constructor(deps: TransportDeps) {
    this.#deps = deps;
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: Parameters<Transport["unary"]>[3],
    input: MessageInitShape<I>,
    contextValues?: ContextValues,
  ): Promise<UnaryResponse<I, O>> {
    const { servers, credential, resilience, closed } = this.#deps;
    const { attempts, backoff, random, tell } = resilience;
    const what = `${method.parent.typeName}/${method.name}`;
    const mayRepeat = isRepeatable(method.name, input as Readonly<Record<string, unknown>>);
    let renewed = false;
    const heals = (thrown: unknown) => {
      if (stop.signal.aborted) return false;
      const error = asConnectError(thrown);
      if (!renewed && credential.mayHelp(error)) {
        renewed = true;
        return true;
      }
      return isRetryable(error) && (mayRepeat || didNothing(error));
    };
    const policy = retry(handleWhen(heals), {
      maxAttempts: attempts - 1,
      backoff: new DelegateBackoff<IRetryBackoffContext<unknown>>(({ attempt, result }) => {
        const error = asConnectError("error" in result ? result.error : undefined);
        if (error.code === Code.Unauthenticated) return 0;
        return Math.max(backoffMs(attempt, random, backoff), retryAfterMs(error));
      }),
    });
    policy.onRetry((event) => {
      const error = asConnectError("error" in event ? event.error : undefined);
      tell({
        kind: "retry",
        what,
        failures: event.attempt,
        class: classify(error),
        retryInMs: event.delay,
        error,
      });
    });
    policy.onGiveUp((event) => {
      const error = asConnectError("error" in event ? event.error : undefined);
      tell({ kind: "gave-up", what, failures: attempts, class: classify(error), retryInMs: 0, error });
    });
    const stop = linked(signal, closed);
    try {
      const attempt = async () => {
        const server = servers.pick();
        try {
          return await server.attempt(
            () =>
              server.transport.unary(
                method,
                stop.signal,
                timeoutMs ?? resilience.timeoutMs,
                header,
                input,
                contextValues,
              ),
            stop.signal,
          );
        } catch (error) {
          if (isServersFault(error)) servers.leave(server);
          throw error;
        }
      };
      return await abortable(policy.execute(attempt, stop.signal), stop.signal);
    } catch (error) {
      if (stop.signal.aborted) throw ConnectError.from(stop.signal.reason, Code.Canceled);
      throw error;
    } finally {
      stop.release();
    }
  }

  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: Parameters<Transport["unary"]>[3],
    input: AsyncIterable<MessageInitShape<I>>,
    contextValues?: ContextValues,
  ): Promise<StreamResponse<I, O>> {
    const server = contextValues?.get(serverKey) ?? this.#deps.servers.pick();
    return server.transport.stream(method, signal, timeoutMs, header, input, contextValues);
  }
}
