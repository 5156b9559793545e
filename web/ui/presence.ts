/**
 * Streams are open while somebody can see them. Without TLS a browser has six connections to a host in all its tabs: a tab
 * that has been hidden for a while gives its own back, and goes on where it was when it is looked at again.
 */
const hiddenMs = 20_000;

/** Runs it again and again: it is aborted when the page has been hidden for long, and over when it ends by itself. */
export async function whilePresent(
  run: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await untilVisible(signal);
    const own = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = () => {
      clearTimeout(timer);
      if (document.hidden) timer = setTimeout(() => own.abort(), hiddenMs);
    };
    const stop = () => own.abort();
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
    document.addEventListener("visibilitychange", look);
    look();
    try {
      await run(own.signal);
      if (!own.signal.aborted) return;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      document.removeEventListener("visibilitychange", look);
    }
  }
}

function untilVisible(signal: AbortSignal): Promise<void> {
  if (!document.hidden || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      document.removeEventListener("visibilitychange", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    document.addEventListener("visibilitychange", done);
    signal.addEventListener("abort", done);
  });
}
