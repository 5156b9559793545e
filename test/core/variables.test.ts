/** What values and constraints are refused, in which words. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DomainError } from "../../server/core/errors.ts";
import { limits } from "../../server/core/limits.ts";
import { type Assignment, type GivenValue, judge } from "../../server/core/variables/constraints.ts";
import { Patterns } from "../../server/core/variables/pattern.ts";
import { type Constraints, type Rules, VariableType } from "../../server/core/variables/variable.ts";

const { BOOLEAN, INTEGER, FLOAT, STRING, CHOICE, JSON: ANY } = VariableType;
const patterns = new Patterns();
const absent: Rules = { type: 0, constraints: undefined, rulesVersion: 0, version: 0 };

const given = (value: unknown): GivenValue => ({
  text: JSON.stringify(value),
  plain: typeof value === "object" && value !== null ? undefined : (value as GivenValue["plain"]),
});

function judged(value: unknown, change: Partial<Assignment> = {}, rules: Rules = absent) {
  const assignment = {
    path: "assignment",
    name: "n",
    type: 0,
    value: given(value),
    constraints: undefined,
    metadata: {},
    clearMetadata: false,
    expectedVersion: undefined,
    ...change,
  };
  return judge(assignment, rules, patterns, { steps: limits.patternSteps });
}

/** Why a value of this type and with these constraints is refused; "": it is taken. */
function why(type: number, value: unknown, constraints?: Constraints): string {
  try {
    judged(value, { type, constraints });
    return "";
  } catch (error) {
    if (error instanceof DomainError && error.code === "invalid_argument") return error.message;
    throw error;
  }
}

describe("types", () => {
  const all: unknown[] = [
    null,
    true,
    false,
    0,
    1,
    -0,
    0.5,
    2 ** 53 - 1,
    2 ** 53,
    -(2 ** 53),
    1e300,
    "",
    "a",
    [],
    {},
  ];
  test.each([
    ["BOOLEAN", BOOLEAN, [true, false]],
    ["INTEGER", INTEGER, [0, 1, -0, 2 ** 53 - 1]],
    ["FLOAT", FLOAT, [0, 1, -0, 0.5, 2 ** 53 - 1, 2 ** 53, -(2 ** 53), 1e300]],
    ["STRING", STRING, ["", "a"]],
    ["JSON", ANY, all],
  ])("%s takes its own values alone", (name, type, taken) => {
    for (const value of all) {
      const reason = why(type, value);
      if ((taken as unknown[]).includes(value)) expect(reason).toBe("");
      else
        expect(reason).toMatch(
          new RegExp(`^assignment\\.value: variable "n" is of type ${name}: must be .+, found `),
        );
    }
  });

  test("what was found is told, but not a long text", () => {
    expect(why(INTEGER, 2 ** 53)).toBe(
      'assignment.value: variable "n" is of type INTEGER: must be a whole number within ±9007199254740991 (2^53-1), found 9007199254740992',
    );
    expect(why(INTEGER, "😀".repeat(100))).toContain("found a text of 100 characters");
    expect(why(INTEGER, [1])).toContain("found a list");
    expect(why(INTEGER, { a: 1 })).toContain("found an object");
  });

  test("a new one without a type is JSON; later the type is kept, and another one is a wrong state", () => {
    expect(judged({ a: 1 })).toEqual({ type: ANY, constraints: undefined });
    const rules = { type: INTEGER, constraints: { max: 3 }, rulesVersion: 1, version: 1 };
    expect(judged(3, {}, rules)).toEqual({ type: INTEGER, constraints: { max: 3 } });
    expect(judged(3, { type: INTEGER }, rules).type).toBe(INTEGER);
    expect(() => judged("x", { type: STRING }, rules)).toThrow(
      expect.objectContaining({ code: "failed_precondition" }),
    );
  });
});

describe("constraints", () => {
  test("of numbers hold at their bounds and not beyond", () => {
    for (const type of [INTEGER, FLOAT]) {
      expect([1, 2, 3].map((value) => why(type, value, { min: 1, max: 3 }))).toEqual(["", "", ""]);
      expect(why(type, 0, { min: 1 })).toContain("must be at least 1 (constraints.min), found 0");
      expect(why(type, 4, { max: 3 })).toContain("must be at most 3 (constraints.max), found 4");
    }
    expect(why(FLOAT, 0.1, { min: 0.1, max: 0.1 })).toBe("");
  });

  test("of lengths count code points", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 12 }), fc.nat(12), fc.nat(12), (text, a, b) => {
        const [minLength, maxLength] = [Math.min(a, b), Math.max(a, b)];
        const length = [...text].length;
        const fits = length >= minLength && length <= maxLength;
        expect(why(STRING, text, { minLength, maxLength }) === "").toBe(fits);
      }),
    );
    expect(why(STRING, "😀", { minLength: 2 })).toContain(
      "must have at least 2 characters (constraints.min_length)",
    );
    expect(why(STRING, "😀😀", { maxLength: 1 })).toContain(
      "must have at most 1 characters (constraints.max_length)",
    );
  });

  test("of a pattern hold for the whole text", () => {
    const pattern = "[a-c]+|x";
    expect(["abc", "x"].map((text) => why(STRING, text, { pattern }))).toEqual(["", ""]);
    for (const text of ["", "abcd", "xx", " abc", "abc\n"]) {
      expect(why(STRING, text, { pattern })).toContain(
        'must match "[a-c]+|x" as a whole (constraints.pattern)',
      );
    }
    expect(why(STRING, "ä😀", { pattern: "\\pL." })).toBe("");
  });

  test("of choices name what may be chosen", () => {
    const choices = ["red", "green"];
    expect(why(CHOICE, "green", { choices })).toBe("");
    expect(why(CHOICE, "Red", { choices })).toBe(
      'assignment.value: variable "n" must be one of "red", "green" (constraints.choices), found "Red"',
    );
    const many = Array.from({ length: 100 }, (_, i) => `c${i}`);
    expect(why(CHOICE, "x", { choices: many })).toContain('"c4" and 95 more (constraints.choices)');
  });

  test.each<[string, number, Constraints]>([
    ["min", STRING, { min: 1 }],
    ["max", BOOLEAN, { max: 1 }],
    ["min_length", INTEGER, { minLength: 1 }],
    ["max_length", BOOLEAN, { maxLength: 1 }],
    ["choices", ANY, { choices: ["a"] }],
    ["pattern", CHOICE, { pattern: "a", choices: ["a"] }],
    ["choices", STRING, { choices: ["a"] }],
    ["choices", CHOICE, {}],
    ["min", FLOAT, { min: 2, max: 1 }],
    ["min_length", STRING, { minLength: 2, maxLength: 1 }],
    ["max", FLOAT, { max: Number.POSITIVE_INFINITY }],
    ["min", FLOAT, { min: Number.NaN }],
    ["pattern", STRING, { pattern: "a(?=b)" }],
    ["pattern", STRING, { pattern: "(a{1000}){1000}" }],
  ])("%s is refused for type %i with %j", (field, type, constraints) => {
    expect(why(type, type === CHOICE || type === STRING ? "a" : 1, constraints)).toMatch(
      new RegExp(`^assignment\\.constraints\\.${field}: .+`),
    );
  });

  test("that are kept are not judged anew, those that come hold for the value beside them", () => {
    const rules = { type: INTEGER, constraints: { min: 5 }, rulesVersion: 1, version: 1 };
    expect(() => judged(4, {}, rules)).toThrow("at least 5");
    expect(judged(4, { constraints: { max: 4 } }, rules).constraints).toEqual({ max: 4 });
    expect(judged(4, { constraints: {} }, rules).constraints).toBeUndefined();
    expect(() => judged(6, { constraints: { max: 4 } }, rules)).toThrow("at most 4");
  });
});

describe("patterns", () => {
  test("of one call share its steps", () => {
    const budget = { steps: limits.patternSteps };
    const text = "ab".repeat(10_000);
    const assignment = {
      path: "a",
      name: "n",
      type: STRING,
      value: given(text),
      constraints: { pattern: "(ab)*" },
      metadata: {},
      clearMetadata: false,
      expectedVersion: undefined,
    };
    let taken = 0;
    expect(() => {
      for (;;) {
        judge(assignment, absent, patterns, budget);
        taken++;
      }
    }).toThrow("4194304 steps");
    expect(taken).toBeGreaterThan(5);
  });
});
