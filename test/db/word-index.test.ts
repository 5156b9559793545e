/** The list of new words is emptied beside the commits, and what waits in it is found all the same. */
import { expect, test } from "vitest";
import { append } from "../../db/statements/append.ts";
import { EventType, noWorkflow } from "../../server/core/event.ts";
import { toAppendGroup } from "../../server/store/append-group.ts";
import { createPgEventStore } from "../../server/store/pg-event-store.ts";
import { anEvent, attach, entries } from "../support/commands.ts";
import { newId, useDatabase } from "../support/database.ts";
import { until } from "../support/until.ts";

const database = useDatabase();

test("words that no commit has put into the index are found, and soon are in it", async () => {
  const client = await database.connect();
  await client.query("create extension if not exists pageinspect");
  const waiting = async () => {
    const { rows } = await client.query(
      "select n_pending_tuples::int as n from gin_metapage_info(get_raw_page('observation_by_words', 0))",
    );
    return rows[0].n as number;
  };
  const found = async (word: string) => {
    const { rows } = await client.query(
      "select count(*)::int as n from observation where search @@ to_tsquery('simple', $1)",
      [word],
    );
    return rows[0].n as number;
  };
  const streamId = newId();
  const sessionId = newId();
  await client.query("insert into stream (stream_id, tenant_slug, kind) values ($1, 'acme', 2)", [streamId]);
  await client.query(
    "insert into memory_space (tenant_slug, space, stream_id) values ('acme', 'notes', $1)",
    [streamId],
  );
  await append(client, toAppendGroup([attach(streamId, undefined, sessionId)]));
  const observe = (sequence: number, content: string) => ({
    ...entries(streamId, [
      anEvent({
        workflowId: noWorkflow,
        taskExecutionId: "",
        producerId: sessionId,
        sequence,
        type: EventType.OBSERVATION,
        payload: content,
        observation: {
          observationId: `${sessionId}:${sequence}`,
          metadata: "{}",
          confidence: 1,
          importance: 0.5,
          observedMs: 1,
        },
      }),
    ]),
    session: { epoch: 1 },
  });
  await append(client, toAppendGroup([observe(1, "badger")]));
  expect(await waiting()).toBeGreaterThan(0);
  expect(await found("badger")).toBe(1);

  const errors: Error[] = [];
  const store = createPgEventStore({
    url: database.url,
    poolSize: 2,
    commitConnections: 1,
    connectTimeoutMs: 5000,
    statementTimeoutMs: 5000,
    onError: (error) => errors.push(error),
  });
  try {
    await store.append(0, [observe(2, "heron")]);
    await until(async () => expect(await waiting()).toBe(0));
    expect(await found("badger")).toBe(1);
    expect(await found("heron")).toBe(1);
    await store.append(0, [observe(3, "otter")]);
    expect(await found("otter")).toBe(1);
    await until(async () => expect(await waiting()).toBe(0));
  } finally {
    await store.close();
  }
  expect(errors).toEqual([]);
});
