/** The order of last use, compared with an array. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { RecencyList } from "../../server/core/recency-list.ts";

test("the oldest is the one used longest ago, whatever is used and deleted", () => {
  const step = fc.record({ thing: fc.integer({ min: 0, max: 5 }), isDelete: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const list = new RecencyList<number>();
      let model: number[] = [];
      for (const { thing, isDelete } of steps) {
        model = model.filter((each) => each !== thing);
        if (isDelete) list.delete(thing);
        else {
          list.use(thing);
          model.push(thing);
        }
        expect(list.oldest).toBe(model[0]);
      }
      // All of it, in order.
      for (const expected of model) {
        expect(list.oldest).toBe(expected);
        list.delete(expected);
      }
      expect(list.oldest).toBeUndefined();
    }),
  );
});
