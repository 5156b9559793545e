/** What windows hold together. */
import { expect, test } from "vitest";
import { type StoredEvent, sizeOf } from "../../server/core/event.ts";
import { ReplayWindow } from "../../server/core/replay-window.ts";
import { WindowMemory } from "../../server/core/window-memory.ts";
import { anEvent } from "../support/commands.ts";
import { Random, seeds } from "../support/random.ts";

const eventAt = (offset: number, payload = "x"): StoredEvent => ({
  ...anEvent({ workflowId: "w", payload }),
  offset,
  recordedMs: 1,
});
const size = sizeOf(eventAt(1));

test("who was written to longest ago gives up its oldest entries first", () => {
  const memory = new WindowMemory(5 * size);
  const [idle, busy] = [0, 0].map((tail) => new ReplayWindow(tail, { entries: 100, bytes: 1e6, memory })) as [
    ReplayWindow,
    ReplayWindow,
  ];
  for (let i = 1; i <= 3; i++) idle.push(eventAt(i));
  for (let i = 1; i <= 4; i++) busy.push(eventAt(i));
  expect([idle.from, idle.length, busy.length]).toEqual([3, 1, 4]);
  for (let i = 5; i <= 6; i++) busy.push(eventAt(i));
  expect([idle.from, idle.length, idle.tail, busy.length]).toEqual([4, 0, 3, 6]);
  // It is not forgotten for good.
  idle.push(eventAt(4));
  expect([idle.from, idle.at(4)?.offset, busy.length, memory.used]).toEqual([4, 4, 4, 5 * size]);
});

test("what a window lets go by itself, or with its stream, is free for others", () => {
  const memory = new WindowMemory(10 * size);
  const small = new ReplayWindow(0, { entries: 2, bytes: 1e6, memory });
  for (let i = 1; i <= 9; i++) small.push(eventAt(i));
  expect(memory.used).toBe(2 * size);
  small.reset(9);
  expect(memory.used).toBe(0);
  small.reset(9);
  expect(memory.used).toBe(0);
});

test.each(seeds(5))(
  "with seed %i: the sum is what the windows hold, and never more than the bound and one of them",
  (seed) => {
    const random = new Random(seed);
    const memory = new WindowMemory(5000);
    const windows = Array.from(
      { length: 20 },
      () => new ReplayWindow(0, { entries: 10, bytes: 1500, memory }),
    );
    for (let step = 0; step < 5000; step++) {
      const window = random.pick(windows);
      if (random.chance(0.01)) window.reset(window.tail + random.below(3));
      else window.push(eventAt(window.tail + 1, "x".repeat(random.below(400))));
      let held = 0;
      for (const { from, tail, at } of windows.map((each) => ({
        from: each.from,
        tail: each.tail,
        at: (o: number) => each.at(o),
      }))) {
        for (let offset = from; offset <= tail; offset++) {
          expect(at(offset)?.offset).toBe(offset);
          held += sizeOf(at(offset) as StoredEvent);
        }
      }
      expect(memory.used).toBe(held);
      expect(held).toBeLessThanOrEqual(5000);
    }
  },
);

test("an entry costs less than 3 µs also with tens of thousands of windows", () => {
  const count = 60_000;
  const holders = Array.from({ length: count }, () => ({ dropOldest: () => 1 }));
  const memory = new WindowMemory(count);
  const round = () => {
    const began = performance.now();
    for (const holder of holders) memory.grow(holder, 1);
    return ((performance.now() - began) * 1000) / count;
  };
  round(); // full
  // Measured: 0.1; in a structure that keeps the places of what left it, 17.
  expect(Math.min(round(), round(), round())).toBeLessThan(3);
});
