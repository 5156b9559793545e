/** Protobuf by hand: right where nothing else is asked, and wrong in the ways in which bytes can be. */
import { ScalarType } from "@bufbuild/protobuf";
import type { Random } from "../support/random.ts";
import { type Filled, isTree, type Tree } from "./messages.ts";
import type { Scalar } from "./scalars.ts";

/** `rate`: how many of the fields are written wrongly, 0–1. */
export function toProto(random: Random, tree: Tree, rate: number): Buffer {
  const parts: Buffer[] = [];
  for (const filled of tree.fields) {
    parts.push(random.chance(rate) ? wrong(random, filled) : field(random, filled, rate));
  }
  return Buffer.concat(parts);
}

export function varint(value: bigint, atLeast = 1): Buffer {
  let left = BigInt.asUintN(64, value);
  const bytes: number[] = [];
  do {
    bytes.push(Number(left & 0x7fn) | 0x80);
    left >>= 7n;
  } while (left > 0n || bytes.length < atLeast);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) & 0x7f;
  return Buffer.from(bytes);
}

const tag = (number: number, wireType: number) => varint((BigInt(number) << 3n) | BigInt(wireType));
const sized = (bytes: Uint8Array) => Buffer.concat([varint(BigInt(bytes.length)), bytes]);

function field(random: Random, { field: desc, key, value }: Filled, rate: number): Buffer {
  if (key !== undefined) {
    const entry = [
      tag(1, 2),
      sized(toBytes(key)),
      tag(2, 2),
      sized(isTree(value) ? toProto(random, value, rate) : toBytes(value)),
    ];
    return Buffer.concat([tag(desc.number, 2), sized(Buffer.concat(entry))]);
  }
  if (isTree(value)) return Buffer.concat([tag(desc.number, 2), sized(toProto(random, value, rate))]);
  return scalar(desc.number, desc.enum === undefined ? desc.scalar : ScalarType.INT32, value);
}

function toBytes(value: Scalar): Uint8Array {
  return value instanceof Uint8Array ? value : Buffer.from(String(value));
}

function scalar(number: number, type: ScalarType | undefined, value: Scalar): Buffer {
  const bytes = Buffer.alloc(8);
  switch (type) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return Buffer.concat([tag(number, 2), sized(toBytes(value))]);
    case ScalarType.DOUBLE:
      bytes.writeDoubleLE(Number(value));
      return Buffer.concat([tag(number, 1), bytes]);
    case ScalarType.FLOAT:
      bytes.writeFloatLE(Number(value));
      return Buffer.concat([tag(number, 5), bytes.subarray(0, 4)]);
    default:
      return Buffer.concat([tag(number, 0), varint(toBigInt(value))]);
  }
}

const toBigInt = (value: Scalar): bigint =>
  typeof value === "bigint" ? value : BigInt(Number.isFinite(Number(value)) ? Math.trunc(Number(value)) : 0);

const wrongs: readonly ((random: Random, filled: Filled) => Buffer)[] = [
  // Another wire type.
  (random, { field: desc }) =>
    Buffer.concat([tag(desc.number, random.below(8)), Buffer.alloc(random.below(12), random.below(256))]),
  // The same, twice.
  (random, filled) => Buffer.concat([field(random, filled, 0), field(random, filled, 0)]),
  // Unknown fields.
  (random, filled) =>
    Buffer.concat([
      scalar(random.pick([99, 15, 536_870_911, 19_000]), ScalarType.STRING, "unknown"),
      field(random, filled, 0),
    ]),
  // More bytes than the number needs, or than are allowed.
  (random, { field: desc }) =>
    Buffer.concat([tag(desc.number, 0), varint(BigInt(random.below(300)), 2 + random.below(12))]),
  // A tag longer than needed, or of the number 0.
  (_, { field: desc }) => Buffer.concat([varint(BigInt(desc.number << 3), 5), varint(1n)]),
  () => Buffer.from([0, 0]),
  // Groups: matched, not ended, ended without a begin, nested deeply.
  (random, filled) =>
    Buffer.concat([tag(filled.field.number, 3), field(random, filled, 0), tag(filled.field.number, 4)]),
  (_, { field: desc }) => Buffer.concat([tag(desc.number, 3), tag(1, 0), varint(1n)]),
  (_, { field: desc }) => tag(desc.number, 4),
  (random, { field: desc }) =>
    Buffer.alloc(random.pick([50, 500, 50_000]), tag(desc.number === 1 ? 900 : 901, 3)),
  // A length beyond the end, or the longest there is.
  (_, { field: desc }) => Buffer.concat([tag(desc.number, 2), varint(1000n), Buffer.from("short")]),
  (_, { field: desc }) => Buffer.concat([tag(desc.number, 2), varint(2n ** 63n)]),
  (_, { field: desc }) => Buffer.concat([tag(desc.number, 2), varint(2n ** 32n - 1n), Buffer.from("x")]),
  // Packed where it may be, and where it may not.
  (random, { field: desc }) =>
    Buffer.concat([tag(desc.number, 2), sized(Buffer.alloc(random.below(2000), 1))]),
  // Nested deeply in itself.
  (random, { field: desc }) => {
    let bytes = Buffer.alloc(0);
    for (let i = random.pick([40, 99, 101, 1000]); i > 0; i--) {
      // A Value in a ListValue in a Value.
      bytes = Buffer.concat([tag(6, 2), sized(Buffer.concat([tag(1, 2), sized(bytes)]))]);
    }
    return Buffer.concat([tag(desc.number, 2), sized(bytes)]);
  },
];

function wrong(random: Random, filled: Filled): Buffer {
  return random.pick(wrongs)(random, filled);
}
