/** What is written by hand is what the driver would have said; what Postgres would refuse is refused before it is sent, or by it. */
import { describe, expect, test } from "vitest";
import { BindMessage } from "../../db/bind-message.ts";
import { BindError, queryBound } from "../../db/bound-query.ts";
import { toStoreError } from "../../server/store/store-errors.ts";
import { useDatabase } from "../support/database.ts";
import { Random, seeds } from "../support/random.ts";

const database = useDatabase();

const text = `select $1::boolean[] as "booleans", $2::smallint[] as "int2s", $3::int[] as "int4s", $4::bigint[]::text[] as "int8s",
                     $5::real[] as "float4s", $6::uuid[] as "uuids", $7::text[] as "texts", $8::jsonb as "json", $9::bytea as "bytes",
                     $10::text[] as "nothing", array_lower($3::int[], 1) as "first"`;
const statement = { name: "all_types", text };

interface Values {
  readonly booleans: readonly boolean[];
  readonly int2s: readonly number[];
  readonly int4s: readonly number[];
  readonly int8s: readonly number[];
  readonly float4s: readonly number[];
  readonly uuids: readonly string[];
  readonly texts: readonly string[];
  readonly json: unknown;
  readonly parts: readonly (string | Uint8Array)[];
}

const write = (of: Values) => (parameters: BindMessage) =>
  parameters
    .booleans(of.booleans)
    .int2s(of.int2s)
    .int4s(of.int4s)
    .int8s(of.int8s)
    .float4s(of.float4s)
    .uuids(of.uuids)
    .texts(of.texts)
    .json(of.json)
    .bytes(of.parts, sizeOf(of.parts))
    .null();

const sizeOf = (parts: Values["parts"]) =>
  parts.reduce((sum, part) => sum + Buffer.byteLength(part as string), 0);

const expected = ({ parts, ...of }: Values) => ({
  ...of,
  int8s: of.int8s.map(String),
  float4s: of.float4s.map((value) => expect.closeTo(value, 5)),
  uuids: of.uuids.map((value) => value.toLowerCase()),
  bytes: Buffer.concat(parts.map((part) => Buffer.from(part as string))),
  nothing: null,
  first: of.int4s.length > 0 ? 1 : null,
});

const none: Values = {
  ...{
    booleans: [],
    int2s: [],
    int4s: [],
    int8s: [],
    float4s: [],
    uuids: [],
    texts: [],
    json: [],
    parts: [],
  },
};

const uuid = "0198F3A2-6b1c-7d4e-8f90-a1b2c3d4e5f6";
const some: Values = {
  booleans: [true, false],
  int2s: [0, -1, 32_767, -32_768],
  int4s: [0, -1, 2 ** 31 - 1, -(2 ** 31), 256],
  int8s: [0, -1, 2 ** 31, 2 ** 32, 2 ** 32 - 1, -(2 ** 32), Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER],
  float4s: [0, 0.5, -1, 0.1],
  uuids: [uuid, "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
  texts: ["", "a", 'quo"te', "back\\slash", "{,}", "NULL", "ü€😀\u0001\n"],
  json: [{ a: 'quo"te', b: ["ü€😀", 1.5, null] }],
  parts: ["Grüße", new Uint8Array([0, 255, 128]), "", new Uint8Array()],
};

test("every type, at its bounds and without elements", async () => {
  const client = await database.connect();
  for (const values of [none, some, none]) {
    expect(await queryBound(client, statement, write(values))).toEqual([expected(values)]);
  }
});

test.each(seeds(3))("as many as it likes, message after message of one buffer, seed %i", async (seed) => {
  const random = new Random(seed);
  const client = await database.connect();
  const list = <T>(most: number, one: () => T): T[] => Array.from({ length: random.below(most + 1) }, one);
  const character = () => String.fromCodePoint(random.pick([97, 34, 92, 0xe9, 0x20ac, 0x1f600]));
  const word = (most: number) => list(most, character).join("");
  for (let i = 0; i < 20; i++) {
    const most = random.pick([3, 300, 3000]);
    const values: Values = {
      booleans: list(most, () => random.chance(0.5)),
      int2s: list(most, () => random.below(2 ** 16) - 2 ** 15),
      int4s: list(most, () => random.below(2 ** 32) - 2 ** 31),
      int8s: list(most, () => random.below(2 ** 53) - 2 ** 52),
      float4s: list(most, () => Math.fround(random.next())),
      uuids: list(most, () => crypto.randomUUID()),
      texts: list(most, () => word(5)),
      json: list(5, () => ({ word: word(50) })),
      parts: list(most, () => (random.chance(0.5) ? word(200) : Buffer.from(word(200)))),
    };
    expect(await queryBound(client, statement, write(values))).toEqual([expected(values)]);
  }
});

describe("a value that its type cannot hold", () => {
  test.each<[string, Partial<Values>]>([
    ["smallint", { int2s: [32_768] }],
    ["smallint", { int2s: [-32_769] }],
    ["smallint", { int2s: [0.5] }],
    ["int", { int4s: [2 ** 31] }],
    ["int", { int4s: [-(2 ** 31) - 1] }],
    ["int", { int4s: [0.5] }],
    ["int", { int4s: [Number.NaN] }],
    ["bigint", { int8s: [2 ** 53] }],
    ["bigint", { int8s: [-(2 ** 53)] }],
    ["bigint", { int8s: [0.5] }],
    ["bigint", { int8s: [Number.NaN] }],
    ["uuid", { uuids: [`${uuid}0`] }],
    ["uuid", { uuids: [`${uuid.slice(0, -1)}g`] }],
    ["uuid", { uuids: [uuid.slice(0, -2)] }],
  ])("is no %s: %o", async (type, wrong) => {
    const client = await database.connect();
    const error = await queryBound(client, statement, write({ ...some, ...wrong })).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(BindError);
    expect((error as Error).message).toMatch(new RegExp(` is no ${type}$`));
    // Of a group the commands without it are stored, and it alone is refused.
    expect(toStoreError(error, true)).toMatchObject({ failure: "poisoned" });
    // Nothing was sent.
    expect(await queryBound(client, statement, write(some))).toEqual([expected(some)]);
  });

  test.each<[string, Partial<Values>]>([
    ["22021", { texts: ["\0"] }],
    ["22P05", { json: ["\0"] }],
  ])("is refused with %s by Postgres, and the connection goes on: %o", async (code, wrong) => {
    const client = await database.connect();
    await expect(queryBound(client, statement, write({ ...some, ...wrong }))).rejects.toMatchObject({ code });
    expect(await queryBound(client, statement, write(some))).toEqual([expected(some)]);
  });
});

test("parts that are not as long as was said are not sent", () => {
  const message = new BindMessage().begin("x");
  expect(() => message.bytes(["abc"], 2)).toThrow(RangeError);
  expect(() => message.bytes(["abc"], 4)).toThrow(RangeError);
  // Where the buffer has just the room that was asked for.
  expect(() => new BindMessage().begin("x").bytes(["a".repeat(50_000)], 40_000)).toThrow(RangeError);
  expect(() => new BindMessage().begin("x").bytes([new Uint8Array(50_000)], 40_000)).toThrow(RangeError);
});

test("a last parameter that fills the buffer leaves room for the end of the message", async () => {
  const client = await database.connect();
  const one = { name: "one", text: "select octet_length($1::bytea)::int as size" };
  for (const size of [33_000, 100_000, 99_999, 1_000_000]) {
    const rows = await queryBound(client, one, (parameters) =>
      parameters.bytes([new Uint8Array(size)], size),
    );
    expect(rows).toEqual([{ size }]);
  }
});

test("statements that do not wait for one another do not share a buffer", async () => {
  const client = await database.connect();
  await queryBound(client, statement, write(none)); // there is one that could be shared
  const all = Array.from({ length: 5 }, (_, i): Values => ({ ...some, texts: [`${i}`] }));
  const rows = await Promise.all(all.map((values) => queryBound(client, statement, write(values))));
  expect(rows).toEqual(all.map((values) => [expected(values)]));
});

test("a buffer is used again after an answer, and not after an error, at which it may still be on its way", async () => {
  const client = await database.connect();
  const used = async (values: Values) => {
    let buffer: BindMessage | undefined;
    const rows = queryBound(client, statement, (parameters) => {
      buffer = parameters;
      write(values)(parameters);
    });
    await rows.catch(() => {});
    return buffer;
  };
  const first = await used(some);
  expect(await used(none)).toBe(first);
  expect(await used({ ...some, texts: ["\0"] })).toBe(first);
  const second = await used(some);
  expect(second).not.toBe(first);
  expect(await used({ ...some, int2s: [2 ** 15] })).toBe(second);
  expect(await used(some)).not.toBe(second);
});

test("a connection that is closed says so", async () => {
  const client = await database.connect();
  await client.end();
  await expect(queryBound(client, statement, write(none))).rejects.toThrow();
});
