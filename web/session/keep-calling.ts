/**
 * A feed without positions (the registry, system events) that begins anew by itself after a lost connection, a restart, a
 * drain, until the signal. What trying again cannot heal is thrown.
 */
import { asConnectError, backoffMs, Code, isRetryable, sleep } from "../../client/browser.ts";

interface Answer {
  readonly message: { readonly case?: string | undefined; readonly value?: unknown };
}

export async function* keepCalling<A extends Answer>(
  open: (signal: AbortSignal) => AsyncIterable<A>,
  signal: AbortSignal,
  tell: (connected: boolean) => void,
): AsyncGenerator<A> {
  let failures = 0;
  while (!signal.aborted) {
    const own = new AbortController();
    const stop = () => own.abort();
    signal.addEventListener("abort", stop, { once: true });
    let waitMs = 0;
    try {
      for await (const answer of open(own.signal)) {
        failures = 0;
        if (answer.message.case === "closing") {
          waitMs = (answer.message.value as { readonly reconnectAfterMs: number }).reconnectAfterMs;
          break;
        }
        tell(true);
        yield answer;
      }
    } catch (error) {
      if (signal.aborted) return;
      const failure = asConnectError(error);
      // ABORTED: a watch that fell too far behind begins anew.
      if (!isRetryable(failure) && failure.code !== Code.Aborted) throw error;
    } finally {
      signal.removeEventListener("abort", stop);
      own.abort();
    }
    if (signal.aborted) return;
    tell(false);
    failures += 1;
    await sleep(waitMs || backoffMs(failures), signal);
  }
}
