/** JSON by hand, as text: numbers that are none, names twice, lone surrogates, nesting without end. */
import { ScalarType } from "@bufbuild/protobuf";
import type { Random } from "../support/random.ts";
import { type Filled, isTree, type Tree } from "./messages.ts";
import type { Scalar } from "./scalars.ts";

/** `rate`: how many of the values are something else, 0–1. */
export function toJsonText(random: Random, tree: Tree, rate: number): string {
  if (tree.desc.typeName === "google.protobuf.Value") return random.pick(values);
  if (tree.desc.typeName === "google.protobuf.Struct") return '{"a":[1,{"b":null}]}';
  if (tree.desc.typeName === "google.protobuf.ListValue") return "[1,[2]]";
  const members: string[] = [];
  const byField = new Map<Filled["field"], Filled[]>();
  for (const filled of tree.fields) byField.set(filled.field, [...(byField.get(filled.field) ?? []), filled]);
  for (const [field, all] of byField) {
    const texts = all.map((filled) => {
      const text = random.chance(rate) ? wrong(random) : one(random, filled, rate);
      return filled.key === undefined ? text : `${quote(String(filled.key))}:${text}`;
    });
    const name = quote(random.chance(0.8) ? field.jsonName : field.name);
    if (field.fieldKind === "list") members.push(`${name}:[${texts.join()}]`);
    else if (field.fieldKind === "map") members.push(`${name}:{${texts.join()}}`);
    else for (const text of texts) members.push(`${name}:${text}`);
  }
  if (random.chance(rate))
    members.push(random.pick(['"unknown":{"a":[]}', '"__proto__":{"a":1}', '"":0', '"constructor":1']));
  return `{${members.join()}}`;
}

const values = [
  "null",
  "1",
  '"x"',
  "true",
  "[]",
  '{"a":{"b":[1,2,3]}}',
  "1e300",
  "-0",
  '"\\u0000"',
  '"\\ud800"',
  '{"__proto__":1}',
  "[[[[[[1]]]]]]",
];

function one(random: Random, { field, value }: Filled, rate: number): string {
  if (isTree(value)) return toJsonText(random, value, rate);
  if (field.enum !== undefined) {
    const known = field.enum.value[Number(value)];
    return known !== undefined && random.chance(0.5) ? quote(known.name) : String(value);
  }
  return scalar(field.fieldKind === "map" ? ScalarType.STRING : field.scalar, value);
}

function scalar(type: ScalarType | undefined, value: Scalar): string {
  if (value instanceof Uint8Array) {
    return type === ScalarType.BYTES
      ? quote(Buffer.from(value).toString("base64"))
      : quote(Buffer.from(value).toString("latin1"));
  }
  if (typeof value === "bigint") return quote(String(value));
  if (typeof value === "number" && !Number.isFinite(value))
    return quote(Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
  return typeof value === "string" ? quote(value) : String(value);
}

/** Lone surrogates become escapes, as JSON.stringify does it. */
const quote = (text: string): string => JSON.stringify(text);

const wrongs = [
  "null",
  "true",
  "-1",
  "1.5",
  "1e400",
  "-1e400",
  "18446744073709551616",
  '"18446744073709551616"',
  "[]",
  "{}",
  '""',
  '"abc"',
  '"\\ud800\\ud800"',
  "[null]",
  "NaN",
  "0x10",
  "01",
  "'x'",
  "",
  '"1e3"',
  "[[[]]]",
  '{"a":1,"a":2}',
  '"Infinity"',
  '"\\u0000"',
  "1e-400",
  "\u0000",
  '"\t"',
];

function wrong(random: Random): string {
  if (random.chance(0.1)) {
    const depth = random.pick([50, 101, 1000, 30_000]);
    return random.chance(0.5)
      ? "[".repeat(depth) + "]".repeat(depth)
      : `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;
  }
  return random.pick(wrongs);
}
