/**
 * Pages of history are written one a turn of the event loop, in the order of asking; who has left takes no turn. For what was written to
 * those who follow live history rests, no longer than its own pages took.
 */
import { describe, expect, test } from "vitest";
import { WriteTurns } from "../../server/core/write-turns.ts";
import { ManualClock, settled } from "../support/manual-clock.ts";

function writers(turns: WriteTurns, count: number) {
  const written: number[] = [];
  const calls = Array.from({ length: count }, () => new AbortController());
  const ask = (i: number) =>
    turns.take((calls[i] as AbortController).signal).then(() => void written.push(i));
  return { written, calls, ask };
}

test("of many who ask at once one writes in each turn of the event loop, in their order, and none before others had a turn", async () => {
  const { written, ask } = writers(new WriteTurns(new ManualClock()), 5);
  const all = Promise.all([0, 1, 2, 3, 4].map(ask));
  await Promise.resolve();
  expect(written).toEqual([]);
  const seen: number[] = [];
  for (let i = 0; i < 5; i++) {
    await settled();
    seen.push(written.length);
  }
  expect(seen).toEqual([1, 2, 3, 4, 5]);
  await all;
  expect(written).toEqual([0, 1, 2, 3, 4]);
});

test("who asks again after each page waits behind all others that ask", async () => {
  const turns = new WriteTurns(new ManualClock());
  const { written, ask } = writers(turns, 3);
  const greedy = async () => {
    for (let n = 0; n < 3; n++) await ask(0);
  };
  await Promise.all([greedy(), ask(1), ask(2)]);
  expect(written).toEqual([0, 1, 2, 0, 0]);
});

test("who leaves is let go at once and takes no turn, and the place is free for who comes when nobody waits", async () => {
  const turns = new WriteTurns(new ManualClock());
  const { written, calls, ask } = writers(turns, 4);
  const all = [0, 1, 2].map(ask);
  calls[0]?.abort();
  calls[1]?.abort();
  await Promise.all([all[0], all[1]]);
  expect(written).toEqual([0, 1]);
  await settled();
  expect(written).toEqual([0, 1, 2]);
  await settled();
  const last = ask(3);
  await settled();
  expect(written).toEqual([0, 1, 2, 3]);
  await Promise.all([...all, last]);
});

describe("beside those who follow live", () => {
  /** When all that time does not hold up is done. */
  const idle = async () => {
    for (let turns = 0; turns < 40; turns++) await settled();
  };

  /** Asks for `count` pages, each of which takes `pageMs`. */
  function write(count: number, pageMs: number) {
    const clock = new ManualClock();
    const turns = new WriteTurns(clock);
    let written = 0;
    for (let i = 0; i < count; i++) {
      void turns.take(new AbortController().signal).then(() => {
        written++;
        clock.move(pageMs);
      });
    }
    const noteLive = (times: number) => {
      for (let i = 0; i < times; i++) turns.noteLive();
    };
    return { clock, noteLive, written: () => written };
  }

  test("history rests as long as its page took when many were written to, and goes on when nobody is", async () => {
    const { clock, noteLive, written } = write(20, 3);
    noteLive(1000);
    for (let i = 1; i <= 3; i++) {
      await idle();
      expect(written()).toBe(i);
      expect(clock.timers).toBe(1);
      clock.move(2);
      await settled();
      expect(written()).toBe(i);
      clock.move(1);
    }
    // Of the 20 ms that a thousand writes are worth 9 are rested, and 9 more in the next three pages.
    for (let i = 4; i <= 6; i++) {
      await idle();
      expect(written()).toBe(i);
      clock.move(3);
    }
    await idle();
    expect(written()).toBe(7);
    clock.move(2);
    await idle();
    expect(written()).toBe(20);
    expect(clock.timers).toBe(0);
  });

  test("a few who are written to are not worth a rest until they are worth a millisecond", async () => {
    const { clock, noteLive, written } = write(3, 3);
    noteLive(49);
    await idle();
    expect(written()).toBe(3);
    expect(clock.timers).toBe(0);
  });

  test("what is owed is bounded: history goes on after it, however many were written to and however long a turn took", async () => {
    const { clock, noteLive, written } = write(2, 10_000);
    noteLive(1_000_000);
    await idle();
    expect(written()).toBe(1);
    clock.move(50);
    await idle();
    expect(written()).toBe(2);
    expect(clock.timers).toBe(0);
  });

  test("who asks during a rest waits for its end", async () => {
    const clock = new ManualClock();
    const turns = new WriteTurns(clock);
    const { written, ask } = writers(turns, 2);
    for (let i = 0; i < 1000; i++) turns.noteLive();
    void ask(0).then(() => clock.move(5));
    await idle();
    void ask(1);
    await idle();
    expect(written).toEqual([0]);
    clock.move(5);
    await idle();
    expect(written).toEqual([0, 1]);
  });
});
