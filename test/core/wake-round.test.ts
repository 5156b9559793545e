/** Who waits for a scope is rung in slices: each after every beginning, nobody for the whole round at once. */
import { expect, test } from "vitest";
import { WakeRound } from "../../server/core/wake-round.ts";

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
