/**
 * Values of variables to and from JSON text. The text is what is stored, so it must say exactly what came: numbers as they
 * are (also -0), and any key, but no U+0000, for which Postgres has no place, and no half of a surrogate pair, for which the
 * wire has none.
 */
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { DomainError } from "../core/errors.ts";
import { payloadSize } from "../core/event.ts";
import { limits } from "../core/limits.ts";
import type { GivenValue } from "../core/variables/constraints.ts";

/** `path` is the place in the request that a message names. Throws invalid_argument. */
export function toGivenValue(value: Value | undefined, path: string): GivenValue {
  const text = toText(value, path, 0);
  const size = payloadSize(text);
  if (size > limits.variableBytes) {
    throw invalid(
      path,
      `must not exceed ${limits.variableBytes} bytes as JSON, found ${size}; keep it elsewhere and set a reference`,
    );
  }
  const kind = value?.kind;
  switch (kind?.case) {
    case "nullValue":
      return { text, plain: null };
    case "boolValue":
    case "numberValue":
    case "stringValue":
      return { text, plain: kind.value };
    default:
      return { text, plain: undefined };
  }
}

export const toValue = (value: unknown): Value => fromJson(ValueSchema, value as JsonValue);

function toText(value: Value | undefined, path: string, depth: number): string {
  if (depth > limits.variableDepth) {
    throw invalid(
      path,
      `lies more than ${limits.variableDepth} lists and objects deep, which many clients cannot read; make it flatter`,
    );
  }
  const kind = value?.kind;
  switch (kind?.case) {
    case "nullValue":
      return "null";
    case "boolValue":
      return String(kind.value);
    case "numberValue":
      if (!Number.isFinite(kind.value)) {
        throw invalid(path, `must be a finite number, found ${kind.value}; JSON has no other`);
      }
      return Object.is(kind.value, -0) ? "-0" : String(kind.value);
    case "stringValue":
      return toStringText(kind.value, path);
    case "listValue":
      return `[${kind.value.values.map((item, i) => toText(item, `${path}[${i}]`, depth + 1)).join()}]`;
    case "structValue": {
      const fields = Object.entries(kind.value.fields).map(([key, field]) => {
        const keyText = toStringText(key, `a key of ${path}`);
        return `${keyText}:${toText(field, `${path}[${keyText}]`, depth + 1)}`;
      });
      return `{${fields.join()}}`;
    }
    default:
      throw invalid(path, "has no kind; set one (null_value for null)");
  }
}

function toStringText(text: string, path: string): string {
  if (text.includes("\0")) throw invalid(path, "must not contain the character U+0000; leave it out");
  if (!text.isWellFormed()) throw invalid(path, "must not contain half of a surrogate pair; leave it out");
  return JSON.stringify(text);
}

const invalid = (path: string, what: string) =>
  new DomainError("invalid_argument", `${path.length > 300 ? `${path.slice(0, 300)}…` : path}: ${what}`);
