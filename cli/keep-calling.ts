/**
 * A feed that begins anew by itself, until Ctrl-C: after a lost connection, a restart of the server, a drain. What trying
 * again cannot heal is thrown, and so is a failure before the first answer. Says on stderr when it is lost and when it is back.
 */
import { asConnectError, backoffMs, ClosingReason, Code, isRetryable, sleep } from "../client/index.ts";
import type { Output } from "./output/output.ts";

type Answer = { readonly message: { readonly case?: string | undefined; readonly value?: unknown } };

export async function* keepCalling<A extends Answer>(
  output: Output,
  open: (signal: AbortSignal) => AsyncIterable<A>,
  signal: AbortSignal,
): AsyncGenerator<A> {
  let failures = 0;
  let lost = false;
  let connected = false;
  while (!signal.aborted) {
    const own = new AbortController();
    const stop = () => own.abort();
    signal.addEventListener("abort", stop, { once: true });
    let waitMs = 0;
    let why = "connection lost";
    try {
      for await (const answer of open(own.signal)) {
        failures = 0;
        if (answer.message.case === "closing") {
          // Whatever the reason: what does not heal is what the next attempt fails with.
          const { reason, reconnectAfterMs } = answer.message.value as Closing;
          waitMs = reconnectAfterMs;
          if (reason === ClosingReason.DRAINING) why = "the server is stopping";
          break;
        }
        if (lost) output.note("connected");
        lost = false;
        connected = true;
        yield answer;
      }
    } catch (error) {
      if (signal.aborted) return;
      const failure = asConnectError(error);
      // ABORTED: a watch that fell too far behind begins anew.
      if (!connected || (!isRetryable(failure) && failure.code !== Code.Aborted)) throw error;
    } finally {
      signal.removeEventListener("abort", stop);
      own.abort();
    }
    if (signal.aborted) return;
    if (!lost) output.note(`${why}, trying again`);
    lost = true;
    failures += 1;
    await sleep(waitMs || backoffMs(failures, Math.random), signal);
  }
}

interface Closing {
  readonly reason: ClosingReason;
  readonly reconnectAfterMs: number;
}
