/** Says in words what is wrong with a message: the field's path, what is demanded, the value found, what to do. */
import type { DescField, DescMessage, MessageShape } from "@bufbuild/protobuf";
import { getOption, ScalarType } from "@bufbuild/protobuf";
import type { Path, ReflectList, ReflectMap, ReflectMessage } from "@bufbuild/protobuf/reflect";
import { reflect } from "@bufbuild/protobuf/reflect";
import type { Violation } from "@bufbuild/protovalidate";
import {
  FieldRulesSchema,
  field as fieldRules,
  Ignore,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

/** Violations that a text names; the rest is counted. */
const named = 3;
/** Longest value that is quoted, characters; of longer ones the size is told. */
const quotedLength = 80;

/** The text for what a validator found in a message. */
export function toText(schema: DescMessage, message: MessageShape<DescMessage>, found: Violation[]): string {
  const root = reflect(schema, message);
  const texts = found.slice(0, named).map((violation) => textOf(root, violation));
  const rest = found.length - texts.length;
  return texts.join("; ") + (rest > 0 ? `; and ${rest} more` : "");
}

function textOf(root: ReflectMessage, violation: Violation): string {
  const path = pathText(violation.field);
  const last = violation.field.at(-1);
  if (last?.kind === "oneof") {
    return `${path} must be given: one of ${last.fields.map(({ name }) => name).join(", ")}, found none`;
  }
  const field = violation.field.findLast((step) => step.kind === "field");
  if (field === undefined) return violation.message;
  const rules = getOption(field, fieldRules);
  const limit = follow(reflect(FieldRulesSchema, rules), violation.rule);
  const demand = demands[violation.ruleId]?.(limit, field) ?? violation.message;
  const zero = field.scalar === ScalarType.STRING ? ", or be empty" : ", or 0";
  const advice = advices[violation.ruleId];
  return [
    violation.forKey ? `the key of ${path}` : path,
    ` ${demand}${rules.ignore === Ignore.IF_ZERO_VALUE ? zero : ""}`,
    `, found ${valueText(violation.forKey && last?.kind === "map_sub" ? last.key : follow(root, violation.field), field)}`,
    advice === undefined ? "" : ` (${advice})`,
  ].join("");
}

type Demand = (limit: unknown, field: DescField) => string;

const uuid: Demand = () => "must be a UUID such as 0198f3a2-6b1c-7d4e-8f90-a1b2c3d4e5f6";

/** What is demanded, by rule; rules that are not listed speak for themselves. */
const demands: Record<string, Demand> = {
  required: () => "must be given",
  "string.uuid": uuid,
  "string.uuid_empty": uuid,
  "string.pattern": (pattern) => `must ${forms[String(pattern)] ?? `match ${pattern}`}`,
  "string.not_contains": () => "must not contain the character U+0000",
  "string.min_len": (limit) => `must have at least ${count(limit, "character")}`,
  "string.max_len": (limit) => `must have at most ${count(limit, "character")}`,
  "string.min_bytes": (limit) => `must have at least ${count(limit, "byte")}`,
  "string.max_bytes": (limit) => `must have at most ${count(limit, "byte")}`,
  "bytes.max_len": (limit) => `must have at most ${count(limit, "byte")}`,
  "repeated.min_items": (limit) => `must hold at least ${limit}`,
  "repeated.max_items": (limit) => `must hold at most ${limit}`,
  "enum.defined_only": (_, field) => `must be a value of ${field.enum?.name}`,
  "enum.in": (list, field) => `must be one of ${enumNames(list, field)}`,
  "enum.not_in": (list, field) => `must not be ${enumNames(list, field)}`,
};

/** What a pattern means. */
const forms: Record<string, string> = {
  "^\\P{Cc}{1,255}$": "be 1–255 printable characters (no control characters)",
  "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$":
    "be a W3C traceparent of version 00, in lower case: 00-<32 hex digits>-<16 hex digits>-<2 hex digits>",
  "^[a-z0-9][a-z0-9_-]{2,62}$": "be 3–63 characters of a–z, 0–9, _ and -, the first a letter or digit",
};

/** What to do, where it is not obvious. */
const advices: Record<string, string> = {
  "string.max_bytes": "split it, or keep it elsewhere and send a reference",
  "bytes.max_len": "split it, or keep it elsewhere and send a reference",
  "repeated.max_items": "send the rest in another message",
  "enum.defined_only": "a newer server may know it",
};

/** As in `options.types[2]` and `metadata["key"]`. */
function pathText(path: Path): string {
  let text = "";
  for (const step of path) {
    if (step.kind === "list_sub") text += `[${step.index}]`;
    else if (step.kind === "map_sub") text += `[${valueText(step.key)}]`;
    else text += (text && ".") + step.name;
  }
  return text;
}

/** The value at the end of a path; undefined: not set. */
function follow(root: ReflectMessage, path: Path): unknown {
  let at: unknown = root;
  for (const step of path) {
    if (step.kind === "list_sub") at = (at as ReflectList).get(step.index);
    else if (step.kind === "map_sub") at = (at as ReflectMap).get(step.key);
    else if (step.kind === "field") {
      const parent = at as ReflectMessage;
      at = step.fieldKind === "message" && !parent.isSet(step) ? undefined : parent.get(step);
    }
  }
  return at;
}

function valueText(value: unknown, field?: DescField): string {
  if (typeof value === "string") {
    return value.length > quotedLength
      ? `a text of ${count(Buffer.byteLength(value), "byte")}`
      : quote(value);
  }
  if (value instanceof Uint8Array) return count(value.byteLength, "byte");
  if (typeof value === "object") return `${(value as ReflectList).size}`;
  if (value === undefined) return "nothing";
  return field?.enum === undefined ? `${value}` : enumName(value, field);
}

/** JSON, and the control characters that JSON lets through. */
function quote(text: string): string {
  return JSON.stringify(text).replace(
    /\p{Cc}/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const count = (number: unknown, noun: string): string =>
  `${number} ${noun}${Number(number) === 1 ? "" : "s"}`;

function enumName(value: unknown, field: DescField): string {
  const name = field.enum?.value[value as number]?.name;
  return name === undefined ? `${value}` : `${name} (${value})`;
}

const enumNames = (list: unknown, field: DescField): string =>
  Array.from(list as ReflectList, (value) => enumName(value, field)).join(", ");
