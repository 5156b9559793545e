import { afterAll, beforeAll, expect, test } from "vitest";
import type { Pool } from "../../db/pool.ts";
import { createPgEventStore, type PgEventStore } from "../../server/store/pg-event-store.ts";
import { anEvent, create, entries } from "../support/commands.ts";
import { newId, useDatabase } from "../support/database.ts";
import { eventStoreContract } from "./event-store-contract.ts";

const database = useDatabase();
let store: PgEventStore;

beforeAll(() => {
  store = open(database.url);
});
afterAll(() => store.close());

function open(url: string): PgEventStore {
  const options = { url, poolSize: 3, connectTimeoutMs: 2000, statementTimeoutMs: 5000, onError: () => {} };
  return createPgEventStore({ ...options, commitConnections: 1 });
}

eventStoreContract("Postgres", () => store);

test("an address where nobody answers is reported as away, for reading and writing", async () => {
  const nowhere = open("postgres://127.0.0.1:1/nothing");
  const away = { name: "StoreError", failure: "away" };
  await expect(nowhere.readTails([newId()])).rejects.toMatchObject(away);
  await expect(
    nowhere.append(0, [entries(newId(), [anEvent({ workflowId: newId() })])]),
  ).rejects.toMatchObject(away);
  await nowhere.close();
});

test.each(["pages", "all else"])(
  "however many reads of %s wait, the other kind does not",
  async (flooded) => {
    const streamId = newId();
    const workflowId = newId();
    await store.append(0, [create(streamId, { workflowId })]);
    const own = open(database.url);
    const pool = own.pools[flooded === "pages" ? 1 : 0] as Pool;
    const taken = await Promise.all(Array.from({ length: pool.options.max }, () => pool.connect()));
    const page = () =>
      own.readPage({
        ...{ streamId, scope: { kind: "tree", workflowId }, filter: { types: undefined, tasks: undefined } },
        ...{ cursor: 0, upTo: 1, limit: 1, descending: false },
      });
    const tail = () => own.readTails([streamId]);
    const [waits, goesOn] = flooded === "pages" ? [page, tail] : [tail, page];
    const waiting = waits();
    expect(pool.waitingCount).toBe(1);
    expect(await goesOn()).toBeDefined();
    expect(pool.waitingCount).toBe(1);
    for (const client of taken) client.release();
    expect(await waiting).toBeDefined();
    await own.close();
  },
);
