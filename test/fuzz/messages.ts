/** Messages from the descriptors, as trees of fields: before they are encoded, so that what no encoder would write is possible. */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import type { Random } from "../support/random.ts";
import { odd, type Scalar, sensible } from "./scalars.ts";

export interface Tree {
  readonly desc: DescMessage;
  /** Repeated fields and maps stand several times. */
  readonly fields: readonly Filled[];
}

export interface Filled {
  readonly field: DescField;
  /** Of a map's entry. */
  readonly key?: Scalar;
  readonly value: Scalar | Tree;
}

export const isTree = (value: Scalar | Tree): value is Tree =>
  typeof value === "object" && !(value instanceof Uint8Array);

export interface Wildness {
  /** How many of the fields are odd, 0–1. */
  readonly odd: number;
  /** Bytes of the longest text. */
  readonly mostBytes: number;
}

/** Left out now and then only: without them nothing goes further than validation. */
const needed = new Set(
  "workflow_id workflow_execution_id workflow_ids task_execution_id slug label name space content status type value events assignments assignment targets observations session action cue scope first_sequence wait_for_durable".split(
    " ",
  ),
);
/** A sensible request leaves these to the server: they would end or empty what others are about. */
const seldom = new Set([
  "disabled",
  "retention",
  "retention_ms",
  "retention_events",
  "idle_timeout_ms",
  "limits",
]);
const deepest = 6;

/** `first`: of a call's messages, the one that opens. */
export function grow(random: Random, desc: DescMessage, wild: Wildness, first = true, depth = 0): Tree {
  const fields: Filled[] = [];
  const fill = (field: DescField) => fields.push(...fillField(random, field, wild, depth));
  for (const field of desc.fields) {
    if (field.oneof !== undefined) continue;
    const wanted = needed.has(field.name) ? 0.97 : seldom.has(field.name) ? 0.03 : 0.3;
    if (random.chance(wild.odd > 0.3 ? 0.5 : wanted)) fill(field);
  }
  for (const oneof of desc.oneofs) {
    if (oneof.fields.length === 1) {
      if (random.chance(0.3)) fill(oneof.fields[0] as DescField); // `optional`
      continue;
    }
    const opening = oneof.fields.find(({ name }) => name === "init" || name === "subscribe");
    if (first && opening !== undefined && random.chance(0.9)) fill(opening);
    else if (random.chance(0.95)) fill(random.pick(oneof.fields));
    while (random.chance(wild.odd / 4)) fill(random.pick(oneof.fields));
  }
  if (random.chance(wild.odd / 4) && desc.fields.length > 0) fill(random.pick(desc.fields)); // twice
  return { desc, fields };
}

function fillField(random: Random, field: DescField, wild: Wildness, depth: number): Filled[] {
  const one = (): Filled["value"] | undefined => {
    if (field.message !== undefined && field.fieldKind !== "map") {
      return depth < deepest ? grow(random, field.message, wild, true, depth + 1) : undefined;
    }
    return random.chance(wild.odd) ? odd(random, field, wild.mostBytes) : sensible(random, field);
  };
  if (field.fieldKind === "map") {
    return Array.from({ length: random.below(4) }, () => {
      const text = () =>
        random.chance(wild.odd)
          ? random.pick(["", "\0", "__proto__", "k".repeat(9000), "\ud800"])
          : random.pick(["k", "l", "m"]);
      const value = field.message === undefined ? text() : grow(random, field.message, wild, true, depth + 1);
      return depth < deepest ? { field, key: text(), value } : undefined;
    }).filter((filled) => filled !== undefined);
  }
  const count = field.fieldKind === "list" ? listLength(random, wild, depth) : 1;
  return Array.from({ length: count }, () => {
    const value = one();
    return value === undefined ? undefined : { field, value };
  }).filter((filled) => filled !== undefined);
}

function listLength(random: Random, wild: Wildness, depth: number): number {
  // Long lists of long texts would cost this process more than the server.
  if (wild.mostBytes <= 400 && depth < 2 && random.chance(wild.odd / 20))
    return random.pick([101, 501, 1001]);
  return random.pick([0, 1, 1, 1, 2, 3]);
}
