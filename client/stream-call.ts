/**
 * One streaming call that is freed however its reader leaves. A `break` out of a Connect stream does not end the call:
 * the server would go on serving nobody. So every call has a controller of its own, aborted at the end whatever it was.
 */
import type { StreamMessage } from "../gen/tributary/v1/event_pb.ts";

export async function* openCall(
  start: (signal: AbortSignal) => AsyncIterable<{ readonly message?: StreamMessage | undefined }>,
  signal?: AbortSignal,
): AsyncGenerator<{ readonly message: StreamMessage["message"] | undefined }> {
  const own = new AbortController();
  const onAbort = () => own.abort();
  if (signal?.aborted === true) own.abort();
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    for await (const { message } of start(own.signal)) yield { message: message?.message };
  } finally {
    signal?.removeEventListener("abort", onAbort);
    own.abort();
  }
}
