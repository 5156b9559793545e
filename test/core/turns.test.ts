/** Permits in the order of asking. */
import { expect, test } from "vitest";
import { Turns } from "../../server/core/turns.ts";

test("are given in the order of asking, never more at a time than there are", () => {
  const turns = new Turns(2);
  const called: number[] = [];
  const asked = [0, 1, 2, 3, 4].map((user) => turns.ask(() => called.push(user)));
  expect(asked.map(({ held }) => held)).toEqual([true, true, false, false, false]);
  asked[1]?.release();
  asked[0]?.release();
  expect(called).toEqual([2, 3]);
  expect(asked.map(({ held }) => held)).toEqual([false, false, true, true, false]);
});

test("who gives up its place is passed over, and giving back twice gives nothing away", () => {
  const turns = new Turns(1);
  const called: number[] = [];
  const asked = [0, 1, 2, 3].map((user) => turns.ask(() => called.push(user)));
  asked[1]?.release();
  asked[0]?.release();
  asked[0]?.release();
  expect(called).toEqual([2]);
  asked[2]?.release();
  expect(called).toEqual([2, 3]);
});

test("who comes again stands behind the others", () => {
  const turns = new Turns(1);
  const order: string[] = [];
  const ask = (user: string) => {
    const turn = turns.ask(() => order.push(user));
    if (turn.held) order.push(user);
    return turn;
  };
  const [greedy, other] = [ask("greedy"), ask("other")];
  greedy.release();
  const again = ask("greedy");
  other.release();
  again.release();
  expect(order).toEqual(["greedy", "other", "greedy"]);
});
