/** Pages of history are written one a turn of the event loop, in the order of asking; who has left takes no turn. */
import { expect, test } from "vitest";
import { WriteTurns } from "../../server/core/write-turns.ts";

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function writers(turns: WriteTurns, count: number) {
  const written: number[] = [];
  const calls = Array.from({ length: count }, () => new AbortController());
  const ask = (i: number) =>
    turns.take((calls[i] as AbortController).signal).then(() => void written.push(i));
  return { written, calls, ask };
}

test("of many who ask at once one writes in each turn of the event loop, in their order, and none before others had a turn", async () => {
  const { written, ask } = writers(new WriteTurns(), 5);
  const all = Promise.all([0, 1, 2, 3, 4].map(ask));
  await Promise.resolve();
  expect(written).toEqual([]);
  const seen: number[] = [];
  for (let i = 0; i < 5; i++) {
    await turn();
    seen.push(written.length);
  }
  expect(seen).toEqual([1, 2, 3, 4, 5]);
  await all;
  expect(written).toEqual([0, 1, 2, 3, 4]);
});

test("who asks again after each page waits behind all others that ask", async () => {
  const turns = new WriteTurns();
  const { written, ask } = writers(turns, 3);
  const greedy = async () => {
    for (let n = 0; n < 3; n++) await ask(0);
  };
  await Promise.all([greedy(), ask(1), ask(2)]);
  expect(written).toEqual([0, 1, 2, 0, 0]);
});

test("who leaves is let go at once and takes no turn, and the place is free for who comes when nobody waits", async () => {
  const turns = new WriteTurns();
  const { written, calls, ask } = writers(turns, 4);
  const all = [0, 1, 2].map(ask);
  calls[0]?.abort();
  calls[1]?.abort();
  await Promise.all([all[0], all[1]]);
  expect(written).toEqual([0, 1]);
  await turn();
  expect(written).toEqual([0, 1, 2]);
  await turn();
  const last = ask(3);
  await turn();
  expect(written).toEqual([0, 1, 2, 3]);
  await Promise.all([...all, last]);
});
