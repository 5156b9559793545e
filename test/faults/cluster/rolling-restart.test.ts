/** A rolling restart under load: nothing is lost or doubled, and no reader waits long. */
import { describe, expect, test } from "vitest";
import { seeds } from "../../support/random.ts";
import { rollingRestart } from "./rolling-restart.ts";

const full = process.env["TRIBUTARY_TEST_FULL"] !== undefined;

/** Whatever the machine does beside it. */
const mostPauseMs = 10_000;

if (full) {
  describe.each(seeds(1))("with seed %i", (seed) => {
    test("three instances restarted one by one under 200 readers and 20 producers lose nothing and double nothing", {
      timeout: 180_000,
    }, async () => {
      const readers = 200;
      const report = await rollingRestart({ seed, readers, producers: 20 });
      const { problems, log, events, deliveries, calmPausesMs, pausesMs, mostAtOnce } = report;
      console.log(
        [
          `rolling restart, seed ${seed}: ${events} events, ${deliveries} deliveries to ${readers} readers`,
          `longest pause of each reader: ${tell(pausesMs)}; without restarts ${tell(calmPausesMs)}`,
          `at most ${mostAtOnce} readers came to one instance within 100 ms`,
          ...log,
        ].join("\n"),
      );
      expect(problems).toEqual([]);
      expect(pausesMs.at(-1)).toBeLessThan(mostPauseMs);
      // Spread by the drain: those of one instance, a third, do not come to the others at once.
      expect(mostAtOnce).toBeLessThan(readers / 3);
    });
  });
}

function tell(rising: readonly number[]): string {
  const at = (share: number) =>
    Math.round(rising[Math.min(rising.length - 1, Math.floor(rising.length * share))] ?? 0);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`;
}
