/** Variables in `append`: one op after another in one group, each seeing what the last one did; and under the lock. */
import type pg from "pg";
import { describe, expect, test } from "vitest";
import { append } from "../../db/statements/append.ts";
import type { Command, VariablesResult } from "../../server/core/command.ts";
import { Lanes } from "../../server/core/lanes.ts";
import { limits } from "../../server/core/limits.ts";
import { toAppendGroup, toGroupResult } from "../../server/store/append-group.ts";
import {
  anEvent,
  close,
  create,
  entries,
  deleteVariable as remove,
  setVariable as set,
} from "../support/commands.ts";
import { newId, useDatabase, waitingForLock } from "../support/database.ts";
import { takeGroup } from "../support/take-group.ts";
import { until } from "../support/until.ts";

const database = useDatabase();

async function run(client: pg.Client, commands: Command[]) {
  const group = toAppendGroup(commands);
  return toGroupResult(commands, group, await append(client, group));
}

async function aWorkflow(client: pg.Client): Promise<[stream: string, id: string]> {
  const [stream, id] = [newId(), newId()];
  await run(client, [create(stream, { workflowId: id })]);
  return [stream, id];
}

const versions = (results: readonly unknown[]) =>
  (results as VariablesResult[]).map((result) =>
    result.result === "set" ? result.items.map(({ version }) => version).join() : result.result,
  );

describe("one group", () => {
  test("takes many changes of one stream, each seeing what the last one did", async () => {
    const client = await database.connect();
    const [stream, id] = await aWorkflow(client);
    const child = newId();
    const { results, notices } = await run(client, [
      entries(stream, [anEvent({ workflowId: id }), anEvent({ workflowId: id })]),
      set(stream, id, "a", { expectedVersion: 0 }),
      set(stream, id, "a", { expectedVersion: 1, rulesVersion: 1 }),
      set(stream, id, "a", { expectedVersion: 1, rulesVersion: 1 }),
      set(stream, id, "a"),
      remove(stream, id, "a", 2),
      remove(stream, id, "a"),
      set(stream, id, "a", { expectedVersion: 0 }),
      create(stream, { workflowId: child, parentWorkflowId: id }),
      set(stream, child, "a"),
      close(stream, id),
      set(stream, id, "a", { rulesVersion: 2 }),
      set(stream, child, "b"),
    ]);
    expect(results[0]).toMatchObject({ kind: "entries", stored: 2, lastOffset: 3 });
    expect(versions(results.slice(1, 8))).toEqual(["1", "2", "conflict", "rules", "deleted", "missing", "3"]);
    expect([results[8], results[10]]).toMatchObject([{ result: "created" }, { result: "closed" }]);
    expect(versions([results[9], results[11], results[12]])).toEqual(["1", "closed", "1"]);
    expect(notices).toEqual([{ streamId: stream, from: 2, to: 11, entries: undefined }]);
    const { rows } = await database.pool.query(
      `select type from event where stream_id = $1 and "offset" > 1 order by "offset"`,
      [stream],
    );
    expect(rows.map(({ type }) => type)).toEqual([1, 1, 30, 30, 31, 30, 20, 30, 21, 30]);
  });

  test("whose changes are all refused stores nothing, and its notice still carries its entries", async () => {
    const client = await database.connect();
    const [stream, id] = await aWorkflow(client);
    const { notices } = await run(client, [
      entries(stream, [anEvent({ workflowId: id })]),
      set(stream, id, "a", { expectedVersion: 7 }),
      remove(stream, id, "a"),
    ]);
    expect(notices).toMatchObject([{ from: 2, to: 2, entries: [{ offset: 2 }] }]);
  });

  test("is filled with changes of one stream; entries after one wait for the next", () => {
    const lanes = new Lanes(() => 0);
    const [stream, id] = [newId(), newId()];
    const taken = () =>
      takeGroup(lanes).map((item) => {
        item.settle({ kind: "variables", result: "missing" });
        return item.command.kind;
      });
    const offer = (command: Command) => lanes.offer(command, () => {});
    for (let i = 0; i < 1500; i++) offer(set(stream, id, "a"));
    expect([taken().length, taken().length]).toEqual([limits.groupEntries, 500]);
    for (const command of [
      entries(stream, [anEvent({ workflowId: id })]),
      set(stream, id, "a"),
      close(stream, id),
      remove(stream, id, "a"),
      entries(stream, [anEvent({ workflowId: id })]),
      set(stream, id, "a"),
    ]) {
      offer(command);
    }
    expect(taken()).toEqual(["entries", "set_variables", "close", "delete_variable"]);
    expect(taken()).toEqual(["entries", "set_variables"]);
  });
});

describe("while another transaction holds the lock", () => {
  async function inTurn(
    first: (stream: string, id: string) => Command,
    second: (stream: string, id: string) => Command,
  ) {
    const [one, two] = [await database.connect(), await database.connect()];
    const [stream, id] = await aWorkflow(one);
    await run(one, [set(stream, id, "a")]);
    await one.query("begin");
    await run(one, [first(stream, id)]);
    const later = run(two, [second(stream, id)]);
    await until(() => waitingForLock(database.pool));
    await one.query("commit");
    return (await later).results[0];
  }

  test("a version is judged by what was committed", async () => {
    expect(
      await inTurn(
        (stream, id) => set(stream, id, "a", { rulesVersion: 1 }),
        (stream, id) => set(stream, id, "a", { rulesVersion: 1, expectedVersion: 1 }),
      ),
    ).toEqual({ kind: "variables", result: "conflict", conflicts: [{ index: 0, version: 2 }] });
  });

  test("rules are those that were committed", async () => {
    expect(
      await inTurn(
        (stream, id) => set(stream, id, "a", { rulesVersion: 1, constraints: '{"max":1}' }),
        (stream, id) => set(stream, id, "a", { rulesVersion: 1 }),
      ),
    ).toEqual({ kind: "variables", result: "rules", stale: [0] });
  });

  test("a first set that came second is no first set", async () => {
    expect(
      await inTurn(
        (stream, id) => set(stream, id, "new"),
        (stream, id) => set(stream, id, "new", { expectedVersion: 0 }),
      ),
    ).toMatchObject({ result: "conflict", conflicts: [{ version: 1 }] });
  });

  test("a workflow that was closed takes no change", async () => {
    expect(
      await inTurn(
        (stream, id) => close(stream, id),
        (stream, id) => set(stream, id, "a", { rulesVersion: 1 }),
      ),
    ).toEqual({ kind: "variables", result: "closed", status: 2 });
  });
});
