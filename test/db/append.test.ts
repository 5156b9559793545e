/** Order and truth of `append`: decisions are made after the lock, with what was committed before it was given. */
import type pg from "pg";
import { describe, expect, test } from "vitest";
import { append } from "../../db/statements/append.ts";
import type { Command, CommandResult } from "../../server/core/command.ts";
import { toAppendGroup, toGroupResult } from "../../server/store/append-group.ts";
import { anEvent, close, create, entries } from "../support/commands.ts";
import { newId, useDatabase, waitingForLock } from "../support/database.ts";
import { until } from "../support/until.ts";

const database = useDatabase();

async function run(client: pg.Client, commands: Command[]): Promise<readonly CommandResult[]> {
  const group = toAppendGroup(commands);
  return toGroupResult(commands, group, await append(client, group)).results;
}

async function aWorkflow(client: pg.Client): Promise<{ stream: string; id: string }> {
  const stream = newId();
  const id = newId();
  expect((await run(client, [create(stream, { workflowId: id })]))[0]).toMatchObject({
    result: "created",
    offset: 1,
  });
  return { stream, id };
}

describe("while another transaction holds the lock", () => {
  /** The first command is stored by a transaction that is committed only when the second waits for its lock. */
  async function inTurn(prepare: (w: { stream: string; id: string }) => { first: Command; second: Command }) {
    const [one, two] = [await database.connect(), await database.connect()];
    const workflow = await aWorkflow(one);
    const { first, second } = prepare(workflow);
    await one.query("begin");
    await run(one, [first]);
    const later = run(two, [second]);
    await until(() => waitingForLock(database.pool));
    await one.query("commit");
    return { result: (await later)[0], ...workflow };
  }

  test("a duplicate is seen as one", async () => {
    const { result } = await inTurn(({ stream, id }) => {
      const command = entries(stream, [anEvent({ workflowId: id, producerId: "p", sequence: 1 })]);
      return { first: command, second: command };
    });
    expect(result).toMatchObject({ stored: 0, duplicates: 1, refusals: [] });
  });

  test("an entry after a terminal one is refused", async () => {
    const { result } = await inTurn(({ stream, id }) => ({
      first: entries(stream, [anEvent({ workflowId: id, type: 9 })]),
      second: entries(stream, [anEvent({ workflowId: id })]),
    }));
    expect(result).toMatchObject({ stored: 0, refusals: [{ index: 0, why: "task_closed" }] });
  });

  test("an entry for a workflow that was just closed is refused", async () => {
    const { result } = await inTurn(({ stream, id }) => ({
      first: close(stream, id),
      second: entries(stream, [anEvent({ workflowId: id })]),
    }));
    expect(result).toMatchObject({ stored: 0, refusals: [{ index: 0, why: "workflow_closed" }] });
  });

  test("a child of a parent that was just closed is refused", async () => {
    const { result } = await inTurn(({ stream, id }) => ({
      first: close(stream, id),
      second: create(stream, { parentWorkflowId: id }),
    }));
    expect(result).toMatchObject({ result: "parent_closed" });
  });

  test("the first entries of a new producer, sent twice at once, are stored once", async () => {
    const { result, stream } = await inTurn(({ stream, id }) => ({
      first: entries(
        stream,
        [1, 2].map((sequence) => anEvent({ workflowId: id, producerId: "new", sequence })),
      ),
      second: entries(
        stream,
        [1, 2, 3].map((sequence) => anEvent({ workflowId: id, producerId: "new", sequence })),
      ),
    }));
    expect(result).toMatchObject({ stored: 1, duplicates: 2, lastOffset: 4 });
    const { rows } = await database.pool.query(
      `select sequence from event where stream_id = $1 and producer_id = 'new' order by "offset"`,
      [stream],
    );
    expect(rows.map((row) => Number(row.sequence))).toEqual([1, 2, 3]);
  });

  test("offsets follow the order of the commits", async () => {
    const { result } = await inTurn(({ stream, id }) => ({
      first: entries(stream, [anEvent({ workflowId: id }), anEvent({ workflowId: id })]),
      second: entries(stream, [anEvent({ workflowId: id })]),
    }));
    expect(result).toMatchObject({ stored: 1, lastOffset: 4 });
  });

  test("the same workflow id in two streams is registered once, whoever waits", async () => {
    const [one, two] = [await database.connect(), await database.connect()];
    const id = newId();
    await one.query("begin");
    await run(one, [create(newId(), { workflowId: id })]);
    const later = run(two, [create(newId(), { workflowId: id, tenant: "globex" })]);
    await until(() => waitingForLock(database.pool));
    await one.query("commit");
    expect((await later)[0]).toMatchObject({ result: "exists" });
    const { rows } = await database.pool.query(
      "select count(*)::int as n from stream s where not exists (select from workflow w where w.stream_id = s.stream_id)",
    );
    expect(rows[0].n).toBe(0);
  });
});

test("a root that is registered again, because the outcome was not known, is the same root", async () => {
  const client = await database.connect();
  const command = create(newId());
  expect((await run(client, [command]))[0]).toMatchObject({ result: "created" });
  expect((await run(client, [command]))[0]).toMatchObject({ result: "exists" });
});

describe("within one group", () => {
  test("each command gets its own result, and a refused one does not touch the others", async () => {
    const client = await database.connect();
    const [a, b] = [await aWorkflow(client), await aWorkflow(client)];
    await run(client, [close(b.stream, b.id)]);
    const unknown = newId();
    const results = await run(client, [
      entries(a.stream, [anEvent({ workflowId: a.id })]),
      entries(b.stream, [anEvent({ workflowId: b.id })]),
      entries(a.stream, [anEvent({ workflowId: unknown })]),
      entries(a.stream, [anEvent({ workflowId: a.id })]),
    ]);
    expect(results).toMatchObject([
      { stored: 1, lastOffset: 2, refusals: [] },
      { stored: 0, refusals: [{ index: 0, why: "workflow_closed" }] },
      { stored: 0, refusals: [{ index: 0, why: "workflow_unknown" }] },
      { stored: 1, lastOffset: 3, refusals: [] },
    ]);
  });

  test("after the first refused entry of a chain nothing of it is stored, before it everything is", async () => {
    const client = await database.connect();
    const { stream, id } = await aWorkflow(client);
    await run(client, [entries(stream, [anEvent({ workflowId: id, taskExecutionId: "done", type: 10 })])]);
    const chain = { broken: false };
    const results = await run(client, [
      entries(
        stream,
        [
          anEvent({ workflowId: id }),
          anEvent({ workflowId: id, taskExecutionId: "done" }),
          anEvent({ workflowId: id }),
        ],
        chain,
      ),
      entries(stream, [anEvent({ workflowId: id })], chain),
      entries(stream, [anEvent({ workflowId: id, taskExecutionId: "other call" })]),
    ]);
    expect(results).toMatchObject([
      {
        stored: 1,
        refusals: [
          { index: 1, why: "task_closed" },
          { index: 2, why: "skipped" },
        ],
      },
      { stored: 0, refusals: [{ index: 0, why: "skipped" }] },
      { stored: 1, lastOffset: 4 },
    ]);
  });

  test.each([
    [
      "an entry after its task's terminal event",
      (id: string) => [anEvent({ workflowId: id, type: 9 }), anEvent({ workflowId: id })],
    ],
    [
      "a number that does not rise",
      (id: string) => [2, 1].map((sequence) => anEvent({ workflowId: id, producerId: "p", sequence })),
    ],
    [
      "a number given twice",
      (id: string) => [1, 1].map((sequence) => anEvent({ workflowId: id, producerId: "p", sequence })),
    ],
  ])("%s is a mistake of the caller, and nothing is stored", async (_, events) => {
    const client = await database.connect();
    const { stream, id } = await aWorkflow(client);
    await expect(run(client, [entries(stream, events(id))])).rejects.toMatchObject({ code: "TR001" });
    const { rows } = await database.pool.query("select next_offset from stream where stream_id = $1", [
      stream,
    ]);
    expect(Number(rows[0].next_offset)).toBe(2);
  });

  test("payloads come back as they were given: none, empty, text with U+0000, bytes, long", async () => {
    const client = await database.connect();
    const { stream, id } = await aWorkflow(client);
    const payloads = [
      undefined,
      "",
      "a\u0000b",
      "äöü 🦊",
      new Uint8Array([0, 255, 1]),
      new Uint8Array(0),
      "z".repeat(300_000),
    ];
    await run(client, [
      entries(
        stream,
        payloads.map((payload) => anEvent({ workflowId: id, payload })),
      ),
    ]);
    const { rows } = await database.pool.query(
      `select payload, payload_is_text from event where stream_id = $1 and "offset" > 1 order by "offset"`,
      [stream],
    );
    expect(
      rows.map(({ payload, payload_is_text }) =>
        payload === null ? undefined : payload_is_text ? payload.toString() : new Uint8Array(payload),
      ),
    ).toEqual(payloads);
  });
});

test("counts of open workflows and the ends of subtrees are kept through a life of a tree", async () => {
  const client = await database.connect();
  const { stream, id: root } = await aWorkflow(client);
  const [a, b, a1, a2] = [newId(), newId(), newId(), newId()];
  for (const [workflowId, parentWorkflowId] of [
    [a, root],
    [b, root],
    [a1, a],
    [a2, a],
  ] as const) {
    await run(client, [create(stream, { workflowId, parentWorkflowId })]);
  }
  const state = async () => {
    const { rows } = await database.pool.query(
      "select workflow_id, status, open_in_subtree as open, subtree_final_offset as final from workflow where stream_id = $1",
      [stream],
    );
    return Object.fromEntries(
      rows.map((row) => [row.workflow_id, [row.status, row.open, row.final && Number(row.final)]]),
    );
  };
  expect(await state()).toEqual({
    [root]: [1, 5, null],
    [a]: [1, 3, null],
    [b]: [1, 1, null],
    [a1]: [1, 1, null],
    [a2]: [1, 1, null],
  });
  await run(client, [close(stream, a)]); // offset 6, its children stay open
  expect((await state())[a]).toEqual([2, 2, null]);
  await run(client, [close(stream, a1)]); // 7
  await run(client, [close(stream, a2)]); // 8: ends the subtree of a
  expect((await state())[a]).toEqual([2, 0, 8]);
  expect((await state())[root]).toEqual([1, 2, null]);
  const [closed] = await run(client, [close(stream, root, true, 3)]); // 9: b, 10: root
  expect(closed).toMatchObject({ result: "closed", offset: 10, status: 3 });
  expect(await state()).toEqual({
    [root]: [3, 0, 10],
    [a]: [2, 0, 8],
    [b]: [4, 0, 9],
    [a1]: [2, 0, 7],
    [a2]: [2, 0, 8],
  });
  expect((await run(client, [close(stream, root, true, 3)]))[0]).toMatchObject({
    result: "unchanged",
    offset: 10,
  });
  expect((await run(client, [close(stream, root, true, 2)]))[0]).toMatchObject({
    result: "closed_otherwise",
    status: 3,
  });
});

test("three writers on fifty streams, each group over many of them, never deadlock and lose nothing", async () => {
  const setup = await database.connect();
  const workflows: { stream: string; id: string }[] = [];
  for (let i = 0; i < 50; i++) workflows.push(await aWorkflow(setup));
  const rounds = 60;
  const writer = async (name: string) => {
    const client = await database.connect();
    for (let round = 0; round < rounds; round++) {
      // Every writer meets the streams in another order; `append` sorts them.
      const order = workflows.toSorted(() => Math.random() - 0.5);
      await run(
        client,
        order.map(({ stream, id }) =>
          entries(stream, [anEvent({ workflowId: id, producerId: name, sequence: round + 1 })]),
        ),
      );
    }
  };
  await Promise.all(["one", "two", "three"].map(writer));
  const { rows } = await database.pool.query(
    `select count(*)::int as n, bool_and(rises) as rises from (
       select sequence > lag(sequence, 1, 0::bigint) over (partition by stream_id, producer_id order by "offset") as rises
         from event where producer_id in ('one', 'two', 'three')) as e`,
  );
  expect(rows[0]).toEqual({ n: 3 * rounds * 50, rises: true });
});
