/** Three instances under load and faults: see CONTRIBUTING.md for how to repeat a seed. */
import { describe, expect, test } from "vitest";
import { describeWith } from "../../support/describe-with.ts";
import { natsServer } from "../../support/nats.ts";
import { isFull as full, seeds } from "../../support/random.ts";
import { type LifeReport, live } from "./life.ts";
import { rollingRestart } from "./rolling-restart.ts";

/** Whatever the machine does beside it. */
const mostPauseMs = 10_000;

describeWith(natsServer, "three instances", () => {
  test.each(seeds(full ? 10 : 1))(
    "nothing acknowledged is lost or doubled, and every history is right, through faults of all kinds (seed %i)",
    { timeout: 300_000 },
    async (seed) => {
      const report = await live({ seed, faults: full ? 24 : 20, events: 100_000 });
      console.log(tell(seed, report));
      expect(report.problems, tell(seed, report, true)).toEqual([]);
      expect(report.events).toBeGreaterThanOrEqual(100_000);
    },
  );

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
            `longest pause of each reader: ${tellPauses(pausesMs)}; without restarts ${tellPauses(calmPausesMs)}`,
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
});

function tell(seed: number, report: LifeReport, withLog = false): string {
  const { faults, events, deliveries, seconds, counts, log } = report;
  const lines = [
    `seed ${seed}: ${faults} faults, ${events} events stored and checked, ${deliveries} deliveries checked, in ${seconds.join(" + ")} s`,
    [...counts].map(([what, count]) => `${count} ${what}`).join(", "),
  ];
  return [...lines, ...(withLog ? log : [])].join("\n");
}

function tellPauses(rising: readonly number[]): string {
  const at = (share: number) =>
    Math.round(rising[Math.min(rising.length - 1, Math.floor(rising.length * share))] ?? 0);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`;
}
