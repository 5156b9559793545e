/** Deadlines in every way to call: the handler learns what is left, and is ended when nothing is. */
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { kindsOf, listen } from "./calls.ts";
import { combinations, createCaller } from "./combinations.ts";
import { Silence } from "./schema.ts";
import { useStack } from "./stack.ts";

const stack = useStack();

describe.each(combinations)("$name", (combination) => {
  const caller = createCaller(stack, combination);

  test.each(kindsOf(caller))("%s: the handler learns how long it has", async (kind) => {
    const { answers, error } = await listen(caller, kind, [{ answers: 1 }], { timeoutMs: 60_000 });
    expect(error).toBeUndefined();
    expect(answers[0]?.timeoutMs).toBeGreaterThan(50_000);
    expect(answers[0]?.timeoutMs).toBeLessThanOrEqual(60_000);
  });

  // All at once: what takes time here is waiting.
  test("a handler that says nothing is ended at the deadline, before answers and after them", async () => {
    const cases = kindsOf(caller).flatMap((kind) =>
      [Silence.BEFORE_ANSWERS, Silence.AFTER_ANSWERS].map((silence) => ({ kind, silence })),
    );
    await Promise.all(
      cases.map(async ({ kind, silence }) => {
        const expected =
          (kind === "recite" || kind === "converse") && silence === Silence.AFTER_ANSWERS ? 2 : 0;
        let call = "";
        // A deadline may pass before a machine with other work gets round to the answers: then again, with more time.
        for (const timeoutMs of [300, 3_000, 30_000]) {
          call = `late ${caller.name} ${kind} ${silence} ${timeoutMs}`;
          const { answers, error } = await listen(caller, kind, [{ call, silence, answers: 2 }], {
            timeoutMs,
          });
          expect(error?.code, call).toBe(Code.DeadlineExceeded);
          if (timeoutMs < 30_000 && (answers.length < expected || !stack.hasBegun(call))) continue;
          expect(answers, call).toHaveLength(expected);
          break;
        }
        // The client keeps time too, and may hang up first, with a code of its own choice.
        await until(() => expect(stack.watched(call)).toMatchObject({ ended: true }));
        expect(stack.watched(call).abortedWith, call).toBeDefined();
      }),
    );
  });
});
