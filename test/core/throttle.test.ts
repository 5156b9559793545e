/** A minimum interval between messages, on a clock turned by hand. */
import { expect, test } from "vitest";
import { Throttle } from "../../server/core/throttle.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";

const never = new AbortController().signal;

test("the first is sent at once, the next an interval later, and not before", async () => {
  const clock = new ManualClock();
  const throttle = new Throttle(clock, 100);
  expect([throttle.shouldSend(), throttle.shouldSend(), throttle.waitMs]).toEqual([true, false, 100]);
  await clock.advance(99);
  expect([throttle.shouldSend(), throttle.waitMs]).toEqual([false, 1]);
  await clock.advance(1);
  expect([throttle.waitMs, throttle.shouldSend(), throttle.shouldSend()]).toEqual([0, true, false]);
});

test("after a silence there is one slot at once, not one for each interval that passed", async () => {
  const clock = new ManualClock();
  const throttle = new Throttle(clock, 100);
  throttle.shouldSend();
  await clock.advance(1000);
  expect([throttle.shouldSend(), throttle.shouldSend()]).toEqual([true, false]);
});

test("what was sent without a slot begins the interval anew", async () => {
  const clock = new ManualClock();
  const throttle = new Throttle(clock, 100);
  throttle.shouldSend();
  await clock.advance(60);
  throttle.sent();
  await clock.advance(99);
  expect(throttle.shouldSend()).toBe(false);
  await clock.advance(1);
  expect(throttle.shouldSend()).toBe(true);
});

test("an interval of 0 is always over", async () => {
  const throttle = new Throttle(new ManualClock(), 0);
  expect([throttle.shouldSend(), throttle.shouldSend(), await throttle.wait(never)]).toEqual([
    true,
    true,
    true,
  ]);
});

test("users that share it each get a slot of their own, in the order in which they asked", async () => {
  const clock = new ManualClock();
  const throttle = new Throttle(clock, 100);
  const began = clock.now();
  const got: [user: number, ms: number][] = [];
  for (const user of [0, 1, 2, 3]) {
    void throttle.wait(never).then((came) => came && got.push([user, clock.now() - began]));
  }
  await settled();
  expect(got).toEqual([[0, 0]]);
  // Nobody sleeps with something locked: who only asks is answered at once.
  expect([throttle.shouldSend(), throttle.waitMs]).toEqual([false, 400]);
  await clock.advance(1000);
  expect(got).toEqual([
    [0, 0],
    [1, 100],
    [2, 200],
    [3, 300],
  ]);
  expect(throttle.shouldSend()).toBe(true);
});

test("who leaves while waiting gives its slot back, and leaves no timer", async () => {
  const clock = new ManualClock();
  const throttle = new Throttle(clock, 100);
  const abort = new AbortController();
  await throttle.wait(never);
  const left = throttle.wait(abort.signal);
  expect([throttle.waitMs, clock.timers]).toEqual([200, 1]);
  abort.abort();
  expect([await left, throttle.waitMs, clock.timers]).toEqual([false, 100, 0]);
  expect(await throttle.wait(abort.signal)).toBe(false);
  expect(throttle.waitMs).toBe(100);
});
