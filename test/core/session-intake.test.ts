/** The rules of numbers: whatever a client sends, what is taken is 1, 2, 3 … */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Intake } from "../../server/core/session/intake.ts";
import { RejectionCode } from "../../server/core/session/rejection.ts";

const sizes = (count: number, size = 10) => Array.from({ length: count }, () => size);

/** Sends a batch and takes what may be taken; returns the numbers taken and the codes answered. */
function send(intake: Intake, first: number, count: number, size = 10) {
  const all = sizes(count, size);
  const { from, to, answers } = intake.judge(first, all);
  intake.take(all, from, to);
  return { taken: Array.from({ length: to - from }, (_, i) => first + from + i), answers };
}

test("numbers are taken without hole or repetition, whatever comes", () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("send" as const),
      first: fc.integer({ min: 0, max: 60 }),
      count: fc.integer({ min: 0, max: 30 }),
    }),
    fc.record({ kind: fc.constant("next" as const), count: fc.integer({ min: 1, max: 30 }) }),
    fc.record({ kind: fc.constant("settle" as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
    fc.record({ kind: fc.constant("pause" as const), paused: fc.boolean() }),
    fc.record({ kind: fc.constant("refuse" as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 40 }), (steps, credit) => {
      const intake = new Intake(0, 25, credit);
      const seen: number[] = [];
      for (const each of steps) {
        if (each.kind === "pause") intake.paused = each.paused;
        else if (each.kind === "refuse") intake.refuse(intake.expected, RejectionCode.OVERLOADED, "full");
        else if (each.kind === "settle") {
          const upTo = intake.settled + Math.floor((intake.taken - intake.settled) * each.part);
          intake.settle(upTo, (upTo - intake.settled) * 10);
        } else {
          const first = each.kind === "next" ? intake.expected : each.first;
          const before = seen.length;
          const { taken, answers } = send(intake, first, each.count);
          seen.push(...taken);
          for (const { code, expectedSequence } of answers) {
            // The first number that is missing is always the one asked for; a repetition is answered before the rest is taken.
            expect(expectedSequence).toBe(
              (code === RejectionCode.SEQUENCE_DUPLICATE ? before : seen.length) + 1,
            );
          }
          if (intake.paused) expect(taken).toEqual([]);
          expect(intake.taken - intake.settled).toBeLessThanOrEqual(credit);
        }
      }
      expect(seen).toEqual(seen.map((_, i) => i + 1));
    }),
  );
});

test("a number beyond 2^53-1 is no gap but a mistake, whose answer can be written", () => {
  const intake = new Intake(0, 1000, 1000);
  const { taken, answers } = send(intake, 2 ** 64, 2);
  expect(taken).toEqual([]);
  expect(answers).toMatchObject([{ code: RejectionCode.BAD_MESSAGE, sequence: 0, expectedSequence: 1 }]);
  const last = Number.MAX_SAFE_INTEGER;
  expect(send(intake, last, 2).answers).toMatchObject([{ code: RejectionCode.BAD_MESSAGE }]);
  const gap = new Intake(0, 1000, 1000);
  expect(send(gap, last, 1).answers).toMatchObject([{ code: RejectionCode.SEQUENCE_GAP, sequence: last }]);
  // It ended nothing, and nothing is dropped after it.
  expect(send(intake, 1, 2).taken).toEqual([1, 2]);
});

test("a gap is answered once, and what follows is dropped until a batch begins at the expected number", () => {
  const intake = new Intake(0, 1000, 1000);
  expect(send(intake, 1, 3).taken).toEqual([1, 2, 3]);
  for (const [first, answered] of [
    [5, 1],
    [6, 0],
    [7, 0],
    [3, 0],
  ] as const) {
    const { taken, answers } = send(intake, first, 2);
    expect([taken, answers.length]).toEqual([[], answered]);
    for (const answer of answers) {
      expect(answer).toMatchObject({
        sequence: 5,
        expectedSequence: 4,
        code: RejectionCode.SEQUENCE_GAP,
        final: false,
      });
    }
  }
  expect(send(intake, 4, 2)).toEqual({ taken: [4, 5], answers: [] });
});

test("what was taken before is answered once a batch, and the rest of the batch is taken", () => {
  const intake = new Intake(10, 1000, 1000);
  const { taken, answers } = send(intake, 9, 4);
  expect(taken).toEqual([11, 12]);
  expect(answers).toMatchObject([
    { sequence: 9, expectedSequence: 11, code: RejectionCode.SEQUENCE_DUPLICATE, final: false },
  ]);
});

test("beyond the credit nothing is taken, by entries and by bytes; one large entry may stand alone", () => {
  const byEntries = new Intake(0, 1000, 5);
  expect(send(byEntries, 1, 8)).toMatchObject({
    taken: [1, 2, 3, 4, 5],
    answers: [{ sequence: 6, expectedSequence: 6, code: RejectionCode.CREDIT_EXCEEDED }],
  });
  byEntries.settle(2, 20);
  expect(send(byEntries, 6, 3)).toMatchObject({
    taken: [6, 7],
    answers: [{ sequence: 8, expectedSequence: 8 }],
  });

  const byBytes = new Intake(0, 1000, 1000);
  const mib = 1024 * 1024;
  expect(send(byBytes, 1, 6, mib)).toMatchObject({ taken: [1, 2, 3, 4], answers: [{ sequence: 5 }] });
  const alone = new Intake(0, 1000, 1000);
  expect(send(alone, 1, 1, 5 * mib).taken).toEqual([1]);
});

test("a batch that cannot be one is answered and changes nothing", () => {
  const intake = new Intake(0, 10, 1000);
  for (const [first, count] of [
    [0, 3],
    [1, 0],
    [1, 11],
  ] as const) {
    expect(send(intake, first, count)).toMatchObject({
      taken: [],
      answers: [{ sequence: 0, expectedSequence: 1, code: RejectionCode.BAD_MESSAGE }],
    });
  }
  expect(send(intake, 1, 10).taken.length).toBe(10);
});
