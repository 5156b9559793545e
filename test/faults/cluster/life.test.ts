/** Three instances under load and faults: see CONTRIBUTING.md for how to repeat a seed. */
import { expect, test } from "vitest";
import { seeds } from "../../support/random.ts";
import { type LifeReport, live } from "./life.ts";

const full = process.env["TRIBUTARY_TEST_FULL"] !== undefined;

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

function tell(seed: number, report: LifeReport, withLog = false): string {
  const { faults, events, deliveries, seconds, counts, log } = report;
  const lines = [
    `seed ${seed}: ${faults} faults, ${events} events stored and checked, ${deliveries} deliveries checked, in ${seconds.join(" + ")} s`,
    [...counts].map(([what, count]) => `${count} ${what}`).join(", "),
  ];
  return [...lines, ...(withLog ? log : [])].join("\n");
}
