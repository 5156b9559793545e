/**
 * One streaming call that is freed however its reader leaves, and that never hangs: its first message must come in time, and
 * then one at least as often as heartbeats do. A `break` out of a Connect stream does not end the call: the server would go
 * on serving nobody. So every call has a controller of its own, aborted at the end whatever it was.
 *
 * The opening is an attempt at one server: it goes through that server's circuit breaker.
 */
import { type CallOptions, Code, ConnectError, createContextValues } from "@connectrpc/connect";
import { abortable, linked, within } from "./abort.ts";
import type { Resilience } from "./resilience/options.ts";
import { isServersFault, type Servers, serverKey } from "./resilience/servers.ts";

export type Call = Required<Pick<CallOptions, "signal">> & CallOptions;

export interface CallDeps {
  /** Absent: the call goes where `open` sends it, in tests for instance. */
  readonly servers?: Servers | undefined;
  readonly resilience: Pick<Resilience, "openTimeoutMs" | "silenceMs">;
}

export interface StreamCall<M> {
  readonly messages: AsyncIterable<M>;
  /** This server stops: the next call goes to another one, if there is one. */
  leave(): void;
}

export function streamCall<M>(
  start: (call: Call) => AsyncIterable<M>,
  deps: CallDeps,
  signal?: AbortSignal,
): StreamCall<M> {
  const server = deps.servers?.pick();
  const leave = () => {
    if (server !== undefined) deps.servers?.leave(server);
  };
  async function* messages(): AsyncGenerator<M> {
    const { openTimeoutMs, silenceMs } = deps.resilience;
    const own = linked(signal);
    const call: Call = { signal: own.signal, contextValues: createContextValues().set(serverKey, server) };
    const silent = (ms: number) => () =>
      new ConnectError(`the stream was silent for ${ms} ms`, Code.DeadlineExceeded);
    let iterator: AsyncIterator<M> | undefined;
    try {
      const open = () => {
        iterator = start(call)[Symbol.asyncIterator]();
        return within(iterator.next(), openTimeoutMs, silent(openTimeoutMs));
      };
      const first = server === undefined ? open() : server.attempt(open, own.signal);
      let result = await abortable(first, own.signal);
      while (result.done !== true && iterator !== undefined) {
        yield result.value;
        const next = within(iterator.next(), silenceMs, silent(silenceMs));
        result = await abortable(next, own.signal);
      }
    } catch (error) {
      if (isServersFault(error)) leave();
      throw error;
    } finally {
      own.release();
      own.abort();
      // Not waited for: it may hang on what the abort ends.
      iterator?.return?.()?.catch(() => {});
    }
  }
  return { messages: messages(), leave };
}
