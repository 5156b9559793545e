/**
 * The clock of all latencies: microseconds of the system's monotonic clock. On Linux it is one for all processes of a
 * machine, so a time that one process stamps and another one reads is exact to about a microsecond. On other systems it
 * need not be; the benchmarks assume Linux and one machine.
 */
import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";

export const nowUs = (): number => Number(process.hrtime.bigint() / 1000n);

/** Closer than this a timer is too coarse, µs. */
const fineUs = 1500;
/** Longest block of the event loop while waiting finely, µs: what an acknowledgement may wait to be seen. */
const sliceUs = 100;

const cell = new Int32Array(new SharedArrayBuffer(4));

/**
 * Waits until a moment, to about 0.1 ms. Node's timers are late by up to a millisecond, which would show in every latency;
 * turning round without pause would take a core from what is measured. So it sleeps in slices, and looks at its sockets in
 * between.
 */
export async function waitUntilUs(moment: number): Promise<void> {
  for (;;) {
    const left = moment - nowUs();
    if (left <= 0) return;
    if (left > fineUs) await delay(Math.floor((left - fineUs) / 1000) + 1);
    else {
      Atomics.wait(cell, 0, 0, Math.min(left, sliceUs) / 1000);
      await nextTurn();
    }
  }
}
