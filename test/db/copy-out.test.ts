/** Rows in binary by COPY: each type as it was stored, and what goes wrong on the way. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type BinaryRow, copyOut, literal } from "../../db/copy-out.ts";
import { ConnectionFailure, createPool, type Pool } from "../../db/pool.ts";
import type { NewEvent, StoredEvent } from "../../server/core/event.ts";
import { createPgEventStore, type PgEventStore } from "../../server/store/pg-event-store.ts";
import { create, entries } from "../support/commands.ts";
import { newId, useDatabase } from "../support/database.ts";
import { Random, seeds } from "../support/random.ts";

const database = useDatabase();
let store: PgEventStore;
let pool: Pool;

beforeAll(() => {
  const limits = { poolSize: 2, connectTimeoutMs: 2000, statementTimeoutMs: 5000, onError: () => {} };
  store = createPgEventStore({ ...limits, url: database.url, commitConnections: 1 });
  pool = createPool({ ...limits, poolSize: 1, url: database.url });
});
afterAll(async () => {
  await pool.end();
  await store.close();
});

async function columnOf<T>(query: string, read: (row: BinaryRow) => T): Promise<T[]> {
  const values: T[] = [];
  await copyOut(pool, query, (row) => values.push(read(row)));
  return values;
}

test("each type comes as it was stored, up to its limits, and null as undefined", async () => {
  const big = Number.MAX_SAFE_INTEGER;
  expect(
    await columnOf(`select unnest(array[0, 1, -1, 4294967295, 4294967296, ${big}, ${-big}, null])`, (row) =>
      row.int8(),
    ),
  ).toEqual([0, 1, -1, 4294967295, 4294967296, big, -big, undefined]);
  expect(
    await columnOf("select unnest(array[2147483647, -2147483648, null]::int[])", (row) => row.int4()),
  ).toEqual([2147483647, -2147483648, undefined]);
  expect(
    await columnOf("select unnest(array[32767, -32768, null]::smallint[])", (row) => row.int2()),
  ).toEqual([32767, -32768, undefined]);
  expect(await columnOf("select unnest(array[true, false, null])", (row) => row.boolean())).toEqual([
    true,
    false,
    undefined,
  ]);
  const ids = [newId(), newId()];
  expect(
    await columnOf(
      `select unnest(array['${ids[0]}', '${ids[0]}', null, '${ids[1]}', '${ids[0]}']::uuid[])`,
      (row) => row.uuid(),
    ),
  ).toEqual([ids[0], ids[0], undefined, ids[1], ids[0]]);
  expect(
    await columnOf(
      "select unnest(array['\\x', '\\x00ff', null]::bytea[])",
      (row) => row.bytes()?.toJSON().data,
    ),
  ).toEqual([[], [0, 255], undefined]);
});

test("text that has the bytes of the one before as characters is not taken for it", async () => {
  const texts = ["é", "Ã©", "é", "", "a", "b", "b", "🦊", "ð\u009f¦\u008a"];
  let last: string | undefined;
  const read = (row: BinaryRow) => {
    last = row.text(last);
    return last;
  };
  expect(await columnOf(`select unnest(array[${texts.map(literal.text).join()}])`, read)).toEqual(texts);
});

test("no value breaks out of its literal", async () => {
  const texts = ["'", "\\", "'; drop table event; --", "$1", "\n", 'ü"🦊'];
  expect(
    await columnOf(`select unnest(array[${texts.map(literal.text).join()}])`, (row) => row.text()),
  ).toEqual(texts);
  expect(() => literal.uuid("' or true --")).toThrow("is not a UUID");
  for (const value of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    expect(() => literal.integer(value)).toThrow("is not an integer");
  }
});

test("a query that fails in the middle, and a row that cannot be taken, fail the call and not the connection", async () => {
  const half = "select 1 / (500 - n) from generate_series(1, 1000) as n";
  await expect(columnOf(half, (row) => row.int4())).rejects.toMatchObject({ code: "22012" });
  const numbers = "select n from generate_series(1, 1000) as n";
  const taken = columnOf(numbers, (row) => {
    if (row.int4() === 500) throw new Error("no more");
  });
  await expect(taken).rejects.toThrow("no more");
  await expect(columnOf("select 1", (row) => [row.int4(), row.int4()])).rejects.toThrow(
    "ends within a column",
  );
  expect(await columnOf("select 1 where false", (row) => row.int4())).toEqual([]);
  expect(await columnOf(numbers, (row) => row.int4())).toHaveLength(1000);
});

test("a connection that is lost on the way is named", async () => {
  const read = columnOf("select pg_terminate_backend(pg_backend_pid())", (row) => row.boolean());
  await expect(read).rejects.toSatisfy(
    (error) => error instanceof ConnectionFailure || (error as { code?: string }).code === "57P01",
  );
  expect(await columnOf("select 1", (row) => row.int4())).toEqual([1]);
});

const idsToPick = ["", "task", "Aufgabe é", "Aufgabe Ã©", "🦊", "x".repeat(100)];

function anyEvent(random: Random, workflowId: string): NewEvent {
  const length = random.pick([0, 1, 10, 900, 3000, 20_000]);
  const character = random.pick(["x", "ü", "🦊", "\u0000", '"\\\n']);
  const payload = random.pick([
    undefined,
    character.repeat(length / character.length),
    new Uint8Array(length).fill(random.below(256)),
  ]);
  return {
    workflowId,
    taskExecutionId: random.pick(idsToPick),
    producerId: "",
    sequence: 0,
    type: 1 + random.below(8),
    payload,
    timestampMs: random.pick([0, 1, 1_700_000_000_000, Number.MAX_SAFE_INTEGER]),
    traceparent: random.pick([undefined, "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"]),
  };
}

const plain = ({ payload, traceparent, ...event }: StoredEvent) => ({
  ...event,
  traceparent,
  payload: payload instanceof Uint8Array ? [...payload] : payload,
});

test.each(seeds(3))(
  "pages bring what was stored, whatever it is, in both directions and through filters, seed %i",
  async (seed) => {
    const random = new Random(seed);
    const [streamId, workflowId] = [newId(), newId()];
    await store.append(0, [create(streamId, { workflowId })]);
    const stored: StoredEvent[] = [];
    for (let i = 0; i < 10; i++) {
      const events = Array.from({ length: 30 }, () => anyEvent(random, workflowId));
      const { notices } = await store.append(0, [entries(streamId, events)]);
      stored.push(...(notices[0]?.entries ?? []));
    }
    expect(stored).toHaveLength(300);
    const filters = [
      { types: undefined, tasks: undefined },
      { types: [1, 2, 3], tasks: undefined },
      { types: undefined, tasks: ["", "Aufgabe é", "🦊"] },
      { types: [], tasks: undefined },
    ];
    for (const filter of filters) {
      for (const descending of [false, true]) {
        const limit = random.pick([7, 100, 1000]);
        const found: StoredEvent[] = [];
        for (let cursor = descending ? 302 : 0; cursor !== (descending ? 0 : 301); ) {
          const page = await store.readPage({
            streamId,
            scope: { kind: "tree", workflowId },
            filter,
            cursor,
            upTo: 301,
            descending,
            limit,
          });
          found.push(...(page?.events ?? []).filter(({ offset }) => offset > 1));
          cursor = page?.scannedTo ?? Number.NaN;
        }
        const wanted = stored.filter(
          ({ type, taskExecutionId }) =>
            (filter.types === undefined || filter.types.includes(type)) &&
            (filter.tasks === undefined || filter.tasks.includes(taskExecutionId)),
        );
        expect(found.map(plain)).toEqual((descending ? wanted.toReversed() : wanted).map(plain));
      }
    }
  },
);
