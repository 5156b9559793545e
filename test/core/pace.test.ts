/** When a reader beats, is idle, and wakes; on a clock that is turned by hand. */
import { expect, test } from "vitest";
import { Pace } from "../../server/core/pace.ts";
import { Wakeup } from "../../server/core/wakeup.ts";
import { ManualClock } from "../support/manual-clock.ts";

function aPace(heartbeatIntervalMs: number, idleTimeoutMs: number) {
  const clock = new ManualClock();
  const wakeup = new Wakeup();
  const pace = new Pace(clock, wakeup, { heartbeatIntervalMs, idleTimeoutMs });
  let wakes = 0;
  const wait = async (atMostMs?: number, mayIdle?: boolean) => {
    await pace.wait(atMostMs, mayIdle);
    wakes++;
  };
  return { clock, wakeup, pace, wait, wakes: () => wakes };
}

test("a heartbeat is due after the interval without a message, and counts as one; it does not end the idleness", async () => {
  const { clock, pace } = aPace(1000, 2500);
  await clock.advance(999);
  expect(pace.takeBeat()).toBe(false);
  await clock.advance(1);
  expect([pace.takeBeat(), pace.takeBeat(), pace.isIdle]).toEqual([true, false, false]);
  await clock.advance(1500);
  expect([pace.takeBeat(), pace.isIdle]).toEqual([true, true]);
  pace.noteEvents();
  expect([pace.takeBeat(), pace.isIdle]).toEqual([false, false]);
});

test("without an idle timeout nobody is idle, and 0 is the default interval", async () => {
  const { clock, pace } = aPace(0, 0);
  await clock.advance(14_999);
  expect(pace.takeBeat()).toBe(false);
  await clock.advance(1_000_000);
  expect([pace.takeBeat(), pace.isIdle]).toEqual([true, false]);
});

test("a wait ends with the bell, the heartbeat, the idle timeout if that counts, or its own time", async () => {
  const { clock, wakeup, pace, wait, wakes } = aPace(1000, 400);
  void wait();
  await clock.advance(399);
  expect(wakes()).toBe(0);
  await clock.advance(1);
  expect(wakes()).toBe(1);
  void wait(undefined, false);
  await clock.advance(599);
  expect(wakes()).toBe(1);
  await clock.advance(1);
  expect(wakes()).toBe(2);
  pace.noteEvents();
  void wait(50);
  await clock.advance(50);
  expect(wakes()).toBe(3);
  void wait();
  wakeup.ring();
  await clock.advance(0);
  expect(wakes()).toBe(4);
});

test("a busy reader sets one timer, and none is left when it stops", async () => {
  const { clock, wakeup, pace, wait, wakes } = aPace(1000, 0);
  for (let i = 0; i < 100; i++) {
    void wait();
    wakeup.ring();
    await clock.advance(1);
    pace.noteEvents();
    expect(clock.timers).toBe(1);
  }
  expect(wakes()).toBe(100);
  pace.stop();
  pace.stop();
  expect(clock.timers).toBe(0);
});
