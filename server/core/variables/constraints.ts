/**
 * Judges assignments: are the constraints ones for the type, and does the value keep type and constraints? New constraints
 * hold for the value that comes with them. Everything that is refused names its field, what was found and what to do.
 */
import { DomainError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Patterns } from "./pattern.ts";
import { type Constraints, type Rules, typeName, VariableType } from "./variable.ts";

/** A value on its way in. */
export interface GivenValue {
  /** As JSON. */
  readonly text: string;
  /** The value itself; undefined: a list or an object. */
  readonly plain: null | boolean | number | string | undefined;
}

export interface Assignment {
  /** As "assignments[3]": the place in the request that a message names. */
  readonly path: string;
  readonly name: string;
  /** 0: not given. */
  readonly type: number;
  readonly value: GivenValue;
  /** undefined: as they are. */
  readonly constraints: Constraints | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly clearMetadata: boolean;
  /** 0: must not exist; undefined: whatever it is. */
  readonly expectedVersion: number | undefined;
}

/** Steps that the patterns of one call may still take. */
export interface Budget {
  steps: number;
}

/** What the variable will be. */
export interface Judged {
  readonly type: number;
  readonly constraints: Constraints | undefined;
}

/** Throws invalid_argument or failed_precondition. */
export function judge(assignment: Assignment, rules: Rules, patterns: Patterns, budget: Budget): Judged {
  const { path, name, value } = assignment;
  const isNew = rules.type === 0;
  const type = isNew ? assignment.type || VariableType.JSON : rules.type;
  if (assignment.type !== 0 && assignment.type !== type) {
    throw new DomainError(
      "failed_precondition",
      `${path}.type: variable ${JSON.stringify(name)} is of type ${typeName(type)}, not ${typeName(assignment.type)}; leave the type out, or delete the variable first`,
    );
  }
  const constraints = assignment.constraints ?? rules.constraints;
  if (isNew || assignment.constraints !== undefined) {
    assertFitting(type, constraints ?? {}, `${path}.constraints`, patterns, budget);
  }
  const wrong =
    whyNotOfType(type, value) ?? whyNotKept(type, constraints ?? {}, value.plain, patterns, budget);
  if (wrong !== undefined) {
    throw invalid(`${path}.value: variable ${JSON.stringify(name)} ${wrong}, found ${shown(value)}`);
  }
  return { type, constraints: constraints && isEmpty(constraints) ? undefined : constraints };
}

const isEmpty = (constraints: Constraints): boolean =>
  Object.values(constraints).every((value) => value === undefined);

type Key = keyof Constraints;

/** Names as in the proto file. */
const fields: Record<Key, string> = {
  min: "min",
  max: "max",
  minLength: "min_length",
  maxLength: "max_length",
  pattern: "pattern",
  choices: "choices",
};

const allowed: Record<number, readonly Key[]> = {
  [VariableType.INTEGER]: ["min", "max"],
  [VariableType.FLOAT]: ["min", "max"],
  [VariableType.STRING]: ["minLength", "maxLength", "pattern"],
  [VariableType.CHOICE]: ["choices"],
  // Each for the values that it says something of: numbers, texts.
  [VariableType.JSON]: ["min", "max", "minLength", "maxLength", "pattern"],
};

function assertFitting(
  type: number,
  constraints: Constraints,
  path: string,
  patterns: Patterns,
  budget: Budget,
): void {
  const may = allowed[type] ?? [];
  for (const key of Object.keys(fields) as Key[]) {
    if (isGiven(constraints, key) && !may.includes(key)) {
      const has = may.length === 0 ? "no constraints" : may.map((one) => fields[one]).join(", ");
      throw invalid(
        `${path}.${fields[key]}: is not for variables of type ${typeName(type)}, which have ${has}; leave it out, or choose another type`,
      );
    }
  }
  const { min, max, minLength, maxLength, pattern, choices } = constraints;
  for (const [key, bound] of Object.entries({ min, max })) {
    if (bound !== undefined && !Number.isFinite(bound)) {
      throw invalid(`${path}.${key}: must be a finite number, found ${bound}; leave it out for no bound`);
    }
  }
  if (min !== undefined && max !== undefined && min > max) {
    throw invalid(`${path}.min: ${min} is above max, which is ${max}; no value could keep both`);
  }
  if (minLength !== undefined && maxLength !== undefined && minLength > maxLength) {
    throw invalid(
      `${path}.min_length: ${minLength} is above max_length, which is ${maxLength}; no text could keep both`,
    );
  }
  if (pattern !== undefined) {
    const steps = patterns.compile(pattern);
    if (steps === undefined) {
      throw invalid(
        `${path}.pattern: must be an RE2 expression (no look-around, no back-references, repetitions up to 1000), found ${JSON.stringify(pattern)}`,
      );
    }
    spend(budget, steps);
  }
  if (type === VariableType.CHOICE && choices === undefined) {
    throw invalid(`${path}.choices: must name at least one text for a variable of type CHOICE, found none`);
  }
}

const isGiven = (constraints: Constraints, key: Key): boolean => constraints[key] !== undefined;

function whyNotOfType(type: number, { plain }: GivenValue): string | undefined {
  switch (type) {
    case VariableType.BOOLEAN:
      return typeof plain === "boolean" ? undefined : "is of type BOOLEAN: must be true or false";
    case VariableType.INTEGER:
      return Number.isSafeInteger(plain)
        ? undefined
        : "is of type INTEGER: must be a whole number within ±9007199254740991 (2^53-1)";
    case VariableType.FLOAT:
      return typeof plain === "number" ? undefined : "is of type FLOAT: must be a number";
    case VariableType.STRING:
    case VariableType.CHOICE:
      return typeof plain === "string" ? undefined : `is of type ${typeName(type)}: must be a text`;
    default:
      return undefined;
  }
}

function whyNotKept(
  type: number,
  { min, max, minLength, maxLength, pattern, choices }: Constraints,
  plain: GivenValue["plain"],
  patterns: Patterns,
  budget: Budget,
): string | undefined {
  if (typeof plain === "number") {
    if (min !== undefined && plain < min) return `must be at least ${min} (constraints.min)`;
    if (max !== undefined && plain > max) return `must be at most ${max} (constraints.max)`;
  }
  if (typeof plain !== "string") return undefined;
  if (type === VariableType.CHOICE) {
    if (choices?.includes(plain) === true) return undefined;
    const named = choices?.slice(0, 5).map((choice) => JSON.stringify(choice)) ?? [];
    const rest = (choices?.length ?? 0) - named.length;
    return `must be one of ${named.join(", ")}${rest > 0 ? ` and ${rest} more` : ""} (constraints.choices)`;
  }
  if (minLength !== undefined && !isLonger(plain, minLength - 1)) {
    return `must have at least ${minLength} characters (constraints.min_length)`;
  }
  if (maxLength !== undefined && isLonger(plain, maxLength)) {
    return `must have at most ${maxLength} characters (constraints.max_length)`;
  }
  if (pattern === undefined) return undefined;
  spend(budget, patterns.cost(pattern, plain.length));
  if (patterns.matches(pattern, plain)) return undefined;
  return `must match ${JSON.stringify(pattern)} as a whole (constraints.pattern)`;
}

/** Has it more code points? Units of UTF-16 are counted only where that does not tell. */
function isLonger(text: string, characters: number): boolean {
  if (text.length <= characters) return false;
  if (text.length > 2 * characters + 1) return true;
  let count = 0;
  for (const _ of text) if (++count > characters) return true;
  return false;
}

function spend(budget: Budget, steps: number): void {
  budget.steps -= steps;
  if (budget.steps >= 0) return;
  throw invalid(
    `the patterns of this call would take more than ${limits.patternSteps} steps (instructions times characters); bound their repetitions, set max_length, or set fewer variables in one call`,
  );
}

function shown({ text, plain }: GivenValue): string {
  if (plain === undefined) return text.startsWith("[") ? "a list" : "an object";
  return text.length <= 80 ? text : `a text of ${[...String(plain)].length} characters`;
}

const invalid = (message: string) => new DomainError("invalid_argument", message);
