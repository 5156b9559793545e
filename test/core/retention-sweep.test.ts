/** When a sweep goes on, pauses and stops; what it does in the database is shown by test/db/retention.test.ts. */
import { expect, test } from "vitest";
import type {
  Deleted,
  Raised,
  RetentionStore,
  Trimmed,
} from "../../server/core/retention/retention-store.ts";
import { RetentionSweep, type SweepOptions } from "../../server/core/retention/sweep.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";

const nothing: Raised = { busy: false, nowMs: 7, more: false, left: false, trimmed: [] };
const none: Deleted = { busy: false, more: false, deleted: 0 };

function aSweep(
  { raise = () => nothing, remove = () => none }: { raise?: () => Raised; remove?: () => Deleted },
  options: Partial<SweepOptions> = {},
) {
  const clock = new ManualClock();
  const calls: string[] = [];
  const asked: (number | undefined)[] = [];
  const told: Trimmed[][] = [];
  const failures: string[] = [];
  const store: RetentionStore = {
    raiseFloors: async (streams, patient, notedUntilMs) => {
      asked.push(notedUntilMs);
      calls.push(patient ? "patient" : `raise ${streams}`);
      return raise();
    },
    deleteEntries: async (entries) => {
      calls.push(`delete ${entries}`);
      return remove();
    },
  };
  const sweep = new RetentionSweep(
    {
      store,
      clock,
      onTrimmed: (trimmed) => told.push([...trimmed]),
      onFailure: (message, error) => failures.push(`${message}: ${error.message}`),
    },
    { intervalMs: 1000, streams: 5, entries: 100, batchMs: 10, pauseMs: 20, ...options },
  );
  return { clock, calls, asked, told, failures, sweep };
}

test("with nothing to do it looks once an interval", async () => {
  const { clock, calls, told, sweep } = aSweep({});
  await clock.advance(999);
  expect(calls).toEqual([]);
  await clock.advance(1);
  expect(calls).toEqual(["raise 5", "delete 100"]);
  await clock.advance(2000);
  expect(calls).toHaveLength(6);
  expect(told).toEqual([]);
  await sweep.close();
  expect(clock.timers).toBe(0);
});

test("it goes on while there is more, with a pause after each batch, and tells each tenant's sum once", async () => {
  let left = 3;
  const { clock, calls, told, sweep } = aSweep({
    raise: () => {
      left--;
      const trimmed = left < 0 ? [] : [{ tenant: "acme", streams: 1, entries: 10 }];
      return { ...nothing, more: left > 0, trimmed };
    },
  });
  await clock.advance(1000);
  expect(calls).toHaveLength(2);
  await clock.advance(19);
  expect(calls).toHaveLength(2);
  await clock.advance(1);
  expect(calls).toHaveLength(4);
  expect(told).toEqual([]);
  await clock.advance(20);
  expect(told).toEqual([[{ tenant: "acme", streams: 3, entries: 30 }]]);
  await sweep.close();
});

test("a slow batch makes the next one smaller and the pause longer, a quick one larger again", async () => {
  const { clock, calls, sweep } = aSweep({
    remove: () => {
      if (calls.filter((call) => call.startsWith("delete")).length <= 2) clock.move(50);
      return { ...none, more: true, deleted: 1 };
    },
  });
  await clock.advance(1000);
  await clock.advance(49);
  expect(calls.filter((call) => call.startsWith("delete"))).toEqual(["delete 100"]);
  await clock.advance(200);
  await clock.advance(200);
  const sizes = calls.filter((call) => call.startsWith("delete"));
  expect(sizes.slice(0, 5)).toEqual(["delete 100", "delete 50", "delete 25", "delete 50", "delete 100"]);
  await sweep.close();
});

test("a batch that the database gives up makes the next one smaller", async () => {
  const { clock, calls, failures, sweep } = aSweep({
    remove: () => {
      throw new Error("statement timeout");
    },
  });
  await clock.advance(2000);
  expect(calls.filter((call) => call.startsWith("delete"))).toEqual(["delete 100", "delete 50"]);
  expect(failures).toHaveLength(2);
  await sweep.close();
});

test("it leaves the work to the instance that is at it", async () => {
  const { clock, calls, sweep } = aSweep({ raise: () => ({ ...nothing, busy: true, more: true }) });
  await clock.advance(1500);
  expect(calls).toEqual(["raise 5"]);
  await sweep.close();
});

test("streams that were passed by are waited for one by one, a few in a round", async () => {
  const { clock, calls, sweep } = aSweep({ raise: () => ({ ...nothing, left: true }) });
  await clock.advance(1000 + 50 * 20);
  expect(calls.filter((call) => call === "patient").length).toBe(20);
  await sweep.close();
});

test("a round that is cut goes on after a pause", async () => {
  const { clock, calls, sweep } = aSweep(
    { remove: () => ({ ...none, more: true, deleted: 1 }) },
    { roundBatches: 2 },
  );
  await clock.advance(1000 + 100);
  expect(calls.length).toBeGreaterThan(6);
  await sweep.close();
});

test("a failure is told, and what was trimmed before it too; the next look comes after the interval", async () => {
  let calls = 0;
  const { clock, told, failures, sweep } = aSweep({
    raise: () => {
      if (++calls === 2) throw new Error("away");
      return { ...nothing, more: true, trimmed: [{ tenant: "acme", streams: 1, entries: 2 }] };
    },
  });
  await clock.advance(1100);
  expect(failures).toEqual(["the retention sweep failed; it goes on later: away"]);
  expect(told).toEqual([[{ tenant: "acme", streams: 1, entries: 2 }]]);
  expect(calls).toBe(2);
  await clock.advance(950);
  expect(calls).toBeGreaterThan(2);
  await sweep.close();
});

test("closing waits for the batch under way, not for a pause, and nothing comes after it", async () => {
  const { clock, calls, sweep } = aSweep({ remove: () => ({ ...none, more: true, deleted: 1 }) });
  await clock.advance(1000);
  await sweep.close();
  await clock.advance(5000);
  await settled();
  expect(calls).toHaveLength(2);
  expect(clock.timers).toBe(0);
  await sweep.close();
});

test("a round takes what was noted before it began: streams that are over their limit again at once do not keep it going", async () => {
  let now = 100;
  const { clock, asked, sweep } = aSweep({
    raise: () => {
      now += 10;
      return { ...nothing, nowMs: now, more: now % 30 !== 0 };
    },
  });
  await clock.advance(1100);
  expect(asked).toEqual([undefined, 110]);
  await clock.advance(1000);
  expect(asked.slice(2)).toEqual([undefined, 130, 130]);
  await sweep.close();
});
