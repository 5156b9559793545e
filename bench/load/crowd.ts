/** Readers that join a long stream at once: when each of them has all that was stored before it came. */
import { nowUs } from "../measure/clock.ts";
import { countEvents } from "../wire/count-events.ts";
import { readOffset } from "../wire/offset.ts";
import type { Connections } from "./connections.ts";
import { call, follow } from "./subscription.ts";

export interface CaughtUp {
  /** With those that came live meanwhile. */
  readonly events: number;
  /** From the first call until the last reader had all. */
  readonly seconds: number;
}

/** Fails for a reader that does not have the first `expected` events, each once and in order, in time. */
export async function crowdOf(
  connections: Connections,
  workflowId: string,
  readers: number,
  expected: number,
  limitMs: number,
): Promise<CaughtUp> {
  const began = nowUs();
  let events = 0;
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`a reader was not through after ${limitMs} ms`)),
    limitMs,
  );
  const read = () =>
    new Promise<void>((resolve, reject) => {
      let last = 0;
      const onEvent = (bytes: Buffer, start: number, end: number) => {
        if (last >= expected) return;
        const offset = readOffset(bytes, start, end);
        if (offset !== last + 1) reject(new Error(`event ${offset} came after ${last}`));
        last = offset;
      };
      const onMessage = (message: Buffer) => {
        events += countEvents(message, onEvent);
        if (last >= expected) resolve();
      };
      follow(call(connections, workflowId, "beginning"), onMessage, reject).catch(reject);
    });
  try {
    await Promise.race([Promise.all(Array.from({ length: readers }, read)), late.promise]);
  } finally {
    clearTimeout(timer);
  }
  return { events, seconds: (nowUs() - began) / 1e6 };
}
