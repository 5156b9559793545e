/** Rows in binary: each type as it was stored, and what goes wrong on the way. */
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  boolean,
  columnAfter,
  columnsAt,
  content,
  int2,
  int8,
  isNull,
  type RowBytes,
  SameText,
  sizeOf,
  utf8,
  uuid,
} from "../../db/binary-row.ts";
import { queryRows } from "../../db/binary-rows.ts";
import { ConnectionFailure, createPool, type Pool } from "../../db/pool.ts";
import type { NewEvent, StoredEvent } from "../../server/core/event.ts";
import { copyOf } from "../../server/core/event-layout.ts";
import { encodeFrame } from "../../server/rpc/encoded-events.ts";
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

const int4 = ({ view }: RowBytes, at: number): number => view.getInt32(at + 4);

/** The only column of each row. */
async function columnOf<T>(
  text: string,
  read: (of: RowBytes, at: number) => T,
  values: readonly unknown[] = [],
): Promise<(T | undefined)[]> {
  const found: (T | undefined)[] = [];
  await queryRows(pool, { name: undefined, text, values }, ({ of, start }) => {
    const at = start + columnsAt;
    found.push(isNull(of, at) ? undefined : read(of, at));
  });
  return found;
}

test("each type comes as it was stored, up to its limits, and null as null", async () => {
  const big = Number.MAX_SAFE_INTEGER;
  expect(
    await columnOf(`select unnest(array[0, 1, -1, 4294967295, 4294967296, ${big}, ${-big}, null])`, int8),
  ).toEqual([0, 1, -1, 4294967295, 4294967296, big, -big, undefined]);
  expect(await columnOf("select unnest(array[32767, -32768, null]::smallint[])", int2)).toEqual([
    32767,
    -32768,
    undefined,
  ]);
  expect(await columnOf("select unnest(array[true, false, null])", boolean)).toEqual([
    true,
    false,
    undefined,
  ]);
  expect(
    await columnOf("select unnest(array['\\x', '\\x00ff', null]::bytea[])", (of, at) => [...content(of, at)]),
  ).toEqual([[], [0, 255], undefined]);
  const ids = [newId(), newId()];
  const sameUuid = new SameText(uuid);
  expect(
    await columnOf(
      `select unnest(array['${ids[0]}', '${ids[0]}', null, '${ids[1]}', '${ids[0]}']::uuid[])`,
      (of, at) => sameUuid.of(of, at),
    ),
  ).toEqual([ids[0], ids[0], undefined, ids[1], ids[0]]);
});

test("a text that begins as the one before, or is a part of it, is another one", async () => {
  const texts = ["", "é", "Ã©", "é", "", "a", "ab", "ab", "b", "🦊", "ð\u009f¦\u008a"];
  const same = new SameText(utf8);
  expect(await columnOf("select unnest($1::text[])", (of, at) => same.of(of, at), [texts])).toEqual(texts);
});

test("columns are told apart, null or not", async () => {
  const found: unknown[] = [];
  const text = "select null::bigint, 'a', null::text, 5::bigint";
  await queryRows(pool, { name: undefined, text, values: [] }, ({ of, start }) => {
    const at: number[] = [start + columnsAt];
    while (at.length < 4) at.push(columnAfter(of, at.at(-1) as number));
    found.push(
      at.map((column) => sizeOf(of, column)),
      int8(of, at[3] as number),
    );
  });
  expect(found).toEqual([[-1, 1, -1, 8], 5]);
});

test("a statement with a name is prepared once, and takes other values each time", async () => {
  const found: (number | undefined)[] = [];
  for (let n = 0; n < 10; n++) {
    const text = "select i from generate_series(1, 2000) as i where i > $1::int";
    await queryRows(pool, { name: "test_rows", text, values: [1999 - n] }, ({ of, start }) => {
      if (n === 9) found.push(int4(of, start + columnsAt));
    });
  }
  expect(found).toEqual([1991, 1992, 1993, 1994, 1995, 1996, 1997, 1998, 1999, 2000]);
  const prepared = await pool.query("select name from pg_prepared_statements where name = 'test_rows'");
  expect(prepared.rows).toHaveLength(1);
});

test("rows are the same, however large they are, and however the network cuts them", async () => {
  // Longer than what a socket brings at once, and around the length of what rows are gathered in.
  const sizes = [0, 1, 8_000, 70_000, 262_000, 262_144, 600_000];
  const text =
    "select convert_to(repeat(chr(64 + n::int), size), 'UTF8') from unnest($1::int[]) with ordinality as s(size, n)";
  await queryRows(pool, { name: undefined, text, values: [sizes] }, ({ of, start }) => {
    const found = content(of, start + columnsAt);
    const n = 7 - sizes.length + 1;
    expect(found.length).toBe(sizes.shift());
    expect(found.every((byte) => byte === 64 + n)).toBe(true);
  });
  expect(sizes).toEqual([]);
});

test("notices and parameters between rows, before them and after do no harm", async () => {
  const seen: string[] = [];
  const client = await pool.connect(); // the pool's only one
  client.on("notice", ({ message = "" }) => seen.push(message));
  client.release();
  await pool.query(
    `create function pg_temp.noisy(n int) returns int language plpgsql as
     $$ begin raise notice 'at %', n; perform set_config('application_name', 'n' || n, false); return n; end $$`,
  );
  for (let round = 0; round < 3; round++) {
    expect(await columnOf("select pg_temp.noisy(n) from generate_series(1, 100) as n", int4)).toEqual(
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
    const { rows } = await pool.query("select current_setting('application_name') as name");
    expect(rows).toEqual([{ name: "n100" }]);
  }
  expect(seen).toHaveLength(300);
});

test("a query that fails in the middle, and a row that cannot be taken, fail the call and not the connection", async () => {
  const half = "select 1 / (500 - n) from generate_series(1, 1000) as n";
  await expect(columnOf(half, int4)).rejects.toMatchObject({ code: "22012" });
  const numbers = "select n from generate_series(1, 1000) as n";
  const taken = columnOf(numbers, (of, at) => {
    if (int4(of, at) === 500) throw new Error("no more");
  });
  await expect(taken).rejects.toThrow("no more");
  expect(await columnOf("select 1 where false", int4)).toEqual([]);
  expect(await columnOf(numbers, int4)).toHaveLength(1000);
});

test("a connection that is lost on the way is named", async () => {
  const read = columnOf("select pg_terminate_backend(pg_backend_pid())", boolean);
  await expect(read).rejects.toSatisfy(
    (error) => error instanceof ConnectionFailure || (error as { code?: string }).code === "57P01",
  );
  expect(await columnOf("select 1", int4)).toEqual([1]);
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

function plain(event: StoredEvent) {
  const { payload, traceparent, ...rest } = copyOf(event);
  return { ...rest, traceparent, payload: payload instanceof Uint8Array ? [...payload] : payload };
}

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
          // Its bytes make the same message as its objects.
          const asObjects = (page?.events ?? []).map(copyOf);
          expect(encodeFrame(page?.events ?? []).equals(encodeFrame(asObjects))).toBe(true);
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
