import { afterAll, beforeAll, expect, test } from "vitest";
import { createPgEventStore, type PgEventStore } from "../../server/store/pg-event-store.ts";
import { anEvent, entries } from "../support/commands.ts";
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
