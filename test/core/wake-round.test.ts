/** Who waits for a scope is rung in slices: each after every beginning, nobody for the whole round at once. */
import { expect, test } from "vitest";
import { WakeRound } from "../../server/core/wake-round.ts";
import { Random, seeds } from "../support/random.ts";

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function waiters(count: number) {
  const rung = Array.from({ length: count }, () => 0);
  const set = new Set(
    rung.map((_, i) => ({
      ring: () => {
        rung[i] = (rung[i] ?? 0) + 1;
      },
    })),
  );
  return { rung, set };
}

test("a few are rung at once, and the round is over a turn later", async () => {
  const { rung, set } = waiters(3);
  let over = 0;
  const round = new WakeRound(set, () => over++);
  round.begin();
  expect([rung, round.isUnderWay, over]).toEqual([[1, 1, 1], false, 0]);
  await turn();
  expect(over).toBe(1);
});

test("many are rung some at a time, with turns of the event loop between", async () => {
  const { rung, set } = waiters(1000);
  let over = 0;
  const round = new WakeRound(set, () => over++);
  round.begin();
  const atOnce = rung.filter((times) => times > 0).length;
  expect(atOnce).toBeGreaterThan(0);
  expect(atOnce).toBeLessThan(500);
  for (let turns = 0; over === 0; turns++) {
    expect(turns).toBeLessThan(20);
    await turn();
  }
  expect(rung.every((times) => times === 1)).toBe(true);
});

test("those who were rung before the next beginning are rung again, the others once; who comes is rung, who leaves is not", async () => {
  const { rung, set } = waiters(1000);
  let over = 0;
  const round = new WakeRound(set, () => over++);
  round.begin();
  const early = rung.filter((times) => times > 0).length;
  round.begin();
  round.begin();
  const [late] = [...set].slice(-1);
  if (late !== undefined) set.delete(late);
  let came = 0;
  set.add({ ring: () => came++ });
  while (over === 0) await turn();
  expect(rung.slice(0, early).every((times) => times === 2)).toBe(true);
  expect(rung.slice(early, -1).every((times) => times === 1)).toBe(true);
  expect([rung.at(-1), came]).toEqual([0, 1]);
  round.begin();
  while (over === 1) await turn();
  expect(came).toBe(2);
});

test.each(seeds(10))(
  "each is rung after the last beginning, however many begin in whichever turn and whoever comes and leaves, seed %i",
  async (seed) => {
    const random = new Random(seed);
    for (let life = 0; life < 20; life++) {
      let step = 0;
      let over = 0;
      const rungAt = new Map<object, number>();
      const set = new Set<{ ring(): void }>();
      const add = () => {
        const waiter = { ring: () => void rungAt.set(waiter, ++step) };
        set.add(waiter);
      };
      for (let n = random.pick([1, 127, 128, 300, 1000]); n > 0; n--) add();
      const round = new WakeRound(set, () => over++);
      for (let begins = 1 + random.below(6); begins > 0; begins--) {
        const begun = ++step;
        round.begin();
        const present = [...set];
        const last = begins === 1;
        // Often within the round, and within the one that follows on it.
        for (let turns = random.pick([0, 1, 2, 7, 8, 9, 20]); turns > 0 && !last; turns--) await turn();
        if (present.length > 1 && random.chance(0.3)) set.delete(random.pick(present));
        if (random.chance(0.3)) add();
        if (!last) continue;
        for (const before = over; over === before; ) await turn();
        const missed = present.filter((waiter) => set.has(waiter) && (rungAt.get(waiter) ?? 0) < begun);
        expect(missed).toHaveLength(0);
      }
    }
  },
);
