/** What `append` guarantees of sessions: fencing, numbers without a hole, final rejections in the same transaction. */
import type pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { append } from "../../db/statements/append.ts";
import type { AppendEntries, Command, CommandResult, SessionResult } from "../../server/core/command.ts";
import { passedType } from "../../server/core/command.ts";
import type { NewEvent } from "../../server/core/event.ts";
import { RejectionCode } from "../../server/core/session/rejection.ts";
import { toAppendGroup, toGroupResult } from "../../server/store/append-group.ts";
import { createPgSessionStore } from "../../server/store/pg-session-store.ts";
import { anEvent, attach, close, create, endSession, entries } from "../support/commands.ts";
import { newId, useDatabase, waitingForLock } from "../support/database.ts";
import { until } from "../support/until.ts";

const database = useDatabase();
let client: pg.Client;
beforeAll(async () => {
  client = await database.connect();
});

async function run(commands: Command[], by = client): Promise<readonly CommandResult[]> {
  const group = toAppendGroup(commands);
  return toGroupResult(commands, group, await append(by, group)).results;
}

/** A session of a workflow; `batch` makes entries of it, numbered from `first`. */
async function aSession() {
  const [stream, workflow, session] = [newId(), newId(), newId()];
  await run([create(stream, { workflowId: workflow })]);
  const [attached] = await run([attach(stream, workflow, session)]);
  expect(attached).toMatchObject({ result: "attached", epoch: 1, lastSequence: 0, lastOffset: 0 });
  const batch = (first: number, changes: Partial<NewEvent>[], epoch = 1): AppendEntries => ({
    ...entries(
      stream,
      changes.map((change, i) =>
        anEvent({ workflowId: workflow, producerId: session, sequence: first + i, ...change }),
      ),
    ),
    session: { epoch },
  });
  const resume = (by = client) => run([attach(stream, workflow, session, true)], by);
  return { stream, workflow, session, batch, resume };
}

const stored = async (stream: string) =>
  (
    await database.pool.query(
      `select sequence::int, payload from event where stream_id = $1 and producer_id <> '' order by "offset"`,
      [stream],
    )
  ).rows.map((row) => [row.sequence, row.payload?.toString()]);

describe("numbers", () => {
  test("move with the entries, over all workflows of the tree, and a resume tells where they are", async () => {
    const { stream, workflow, batch, resume } = await aSession();
    const child = newId();
    await run([create(stream, { workflowId: child, parentWorkflowId: workflow })]);
    const [result] = await run([batch(1, [{}, { workflowId: child }, {}])]);
    expect(result).toMatchObject({ stored: 3, lastOffset: 5, refusals: [] });
    expect((await resume())[0]).toMatchObject({
      result: "attached",
      epoch: 2,
      lastSequence: 3,
      lastOffset: 5,
    });
  });

  test("that were stored before are duplicates and do not move", async () => {
    const { stream, batch, resume } = await aSession();
    await run([batch(1, [{}, {}])]);
    expect((await run([batch(1, [{}, {}, {}])]))[0]).toMatchObject({ stored: 1, duplicates: 2 });
    expect(await stored(stream)).toHaveLength(3);
    expect((await resume())[0]).toMatchObject({ lastSequence: 3 });
  });

  test("with a hole are a mistake that stores nothing", async () => {
    const { stream, batch } = await aSession();
    await run([batch(1, [{}])]);
    await expect(run([batch(3, [{}])])).rejects.toThrow(/leave a hole/);
    await expect(run([batch(2, [{}, { sequence: 4 }])])).rejects.toThrow(/leave a hole/);
    expect(await stored(stream)).toHaveLength(1);
  });

  test("of several sessions, and of producers without one, do not mix in a group", async () => {
    const one = await aSession();
    const other = await aSession();
    const plain = entries(one.stream, [
      anEvent({ workflowId: one.workflow, producerId: one.session, sequence: 9 }),
    ]);
    const results = await run([one.batch(1, [{}, {}]), other.batch(1, [{}]), plain, one.batch(3, [{}])]);
    expect(results).toMatchObject([{ stored: 2 }, { stored: 1 }, { stored: 1 }, { stored: 1 }]);
    expect((await one.resume())[0]).toMatchObject({ lastSequence: 3, lastOffset: 5 });
    expect((await other.resume())[0]).toMatchObject({ lastSequence: 1, lastOffset: 2 });
  });
});

describe("final rejections", () => {
  test("pass the number in the same transaction, and what follows stands", async () => {
    const { stream, workflow, batch, resume } = await aSession();
    const closed = newId();
    await run([create(stream, { workflowId: closed, parentWorkflowId: workflow })]);
    await run([close(stream, closed)]);
    await run([batch(1, [{ taskExecutionId: "done", type: 9 }])]);
    const rejection = JSON.stringify({ code: RejectionCode.TOO_LARGE, message: "too large" });
    const [result] = await run([
      batch(2, [
        { taskExecutionId: "done" },
        { payload: "a" },
        { workflowId: closed },
        { workflowId: newId() },
        { type: passedType, payload: rejection },
        { payload: "b" },
      ]),
    ]);
    expect(result).toMatchObject({
      stored: 2,
      refusals: [
        { index: 0, why: "task_closed" },
        { index: 2, why: "workflow_closed" },
        { index: 3, why: "workflow_unknown" },
        { index: 4, why: "passed" },
      ],
    });
    expect((await stored(stream)).slice(1)).toEqual([
      [3, "a"],
      [7, "b"],
    ]);
    const [resumed] = await resume();
    expect(resumed).toMatchObject({
      lastSequence: 7,
      rejections: [
        { sequence: 2, code: RejectionCode.TASK_CLOSED, message: expect.stringContaining('"done"') },
        { sequence: 4, code: RejectionCode.WORKFLOW_CLOSED, message: expect.stringContaining(closed) },
        { sequence: 5, code: RejectionCode.INVALID },
        { sequence: 6, code: RejectionCode.TOO_LARGE, message: "too large" },
      ],
    });
  });

  test("at the end of a batch move the number too", async () => {
    const { batch, resume } = await aSession();
    const passed = { type: passedType, payload: JSON.stringify({ code: 16, message: "bad" }) };
    await run([batch(1, [passed, passed])]);
    expect((await resume())[0]).toMatchObject({ lastSequence: 2, lastOffset: 0 });
    expect((await run([batch(3, [{}], 2)]))[0]).toMatchObject({ stored: 1 });
  });

  test("are kept up to the newest hundred", async () => {
    const { batch, resume } = await aSession();
    const passed = { type: passedType, payload: JSON.stringify({ code: 16, message: "bad" }) };
    for (let first = 1; first <= 150; first += 30) {
      await run([
        batch(
          first,
          Array.from({ length: 30 }, () => passed),
        ),
      ]);
    }
    const [resumed] = await resume();
    const kept = (resumed as SessionResult).rejections.map(({ sequence }) => sequence);
    expect(kept).toEqual(Array.from({ length: 100 }, (_, i) => 51 + i));
  });
});

describe("fencing", () => {
  test("entries of an older connection are refused once another one has the session", async () => {
    const { stream, batch, resume } = await aSession();
    await run([batch(1, [{}])]);
    await resume();
    const [late] = await run([batch(2, [{}, {}])]);
    expect(late).toMatchObject({ stored: 0, refusals: [{ why: "fenced" }, { why: "fenced" }] });
    expect((await run([batch(2, [{}], 2)]))[0]).toMatchObject({ stored: 1 });
    expect(await stored(stream)).toHaveLength(2);
  });

  test("a resume waits for the entries under way, and counts them", async () => {
    const { batch, resume } = await aSession();
    const other = await database.connect();
    await client.query("begin");
    await run([batch(1, [{}, {}])]);
    const resumed = resume(other);
    await until(() => waitingForLock(database.pool));
    await client.query("commit");
    expect((await resumed)[0]).toMatchObject({ lastSequence: 2, epoch: 2 });
  });

  test("entries that wait while another connection takes the session are refused", async () => {
    const { batch, resume } = await aSession();
    const other = await database.connect();
    await client.query("begin");
    await resume();
    const late = run([batch(1, [{}])], other);
    await until(() => waitingForLock(database.pool));
    await client.query("commit");
    expect((await late)[0]).toMatchObject({ stored: 0, refusals: [{ why: "fenced" }] });
  });
});

describe("taking and ending", () => {
  test("an ended session takes nothing more and says where it ended", async () => {
    const { stream, session, batch, resume } = await aSession();
    await run([batch(1, [{}, {}])]);
    const ended = { lastSequence: 2, lastOffset: 3 };
    expect((await run([endSession(stream, session, 1)]))[0]).toMatchObject({ result: "ended", ...ended });
    expect((await run([endSession(stream, session, undefined)]))[0]).toMatchObject({
      result: "unchanged",
      ...ended,
    });
    expect((await run([batch(3, [{}])]))[0]).toMatchObject({ refusals: [{ why: "fenced" }] });
    expect((await resume())[0]).toMatchObject({ result: "ended", lastSequence: 2 });
  });

  test("an older connection cannot end what a newer one holds", async () => {
    const { stream, session, resume } = await aSession();
    await resume();
    expect((await run([endSession(stream, session, 1)]))[0]).toMatchObject({ result: "fenced" });
    expect((await resume())[0]).toMatchObject({ result: "attached", epoch: 3 });
  });

  test("the sweep closes what nobody renewed, and refuses what an old connection still sends", async () => {
    const { session, batch } = await aSession();
    const living = await aSession();
    await database.pool.query("update session set lease_expires_ms = 1 where session_id = $1", [session]);
    expect(await createPgSessionStore(database.pool).expire()).toHaveLength(1);
    expect((await run([batch(1, [{}])]))[0]).toMatchObject({ refusals: [{ why: "fenced" }] });
    expect(await createPgSessionStore(database.pool).find(session)).toMatchObject({
      state: 7,
      closedReason: 3,
    });
    expect((await run([living.batch(1, [{}])]))[0]).toMatchObject({ stored: 1 });
  });

  test("a session whose lease is over has ended, also for the connection that had it", async () => {
    const { session, batch, resume } = await aSession();
    await database.pool.query("update session set lease_expires_ms = 1 where session_id = $1", [session]);
    expect((await resume())[0]).toMatchObject({ result: "ended" });
    expect((await run([batch(1, [{}])]))[0]).toMatchObject({ refusals: [{ why: "fenced" }] });
  });

  test("another target, or an unknown session, is refused", async () => {
    const { stream, session } = await aSession();
    expect((await run([attach(stream, newId(), session, true)]))[0]).toMatchObject({
      result: "other_target",
    });
    expect((await run([attach(stream, newId(), newId(), true)]))[0]).toMatchObject({ result: "unknown" });
    expect((await run([endSession(stream, newId(), undefined)]))[0]).toMatchObject({ result: "unknown" });
  });

  test("no more than the tenant may have are made", async () => {
    const stream = newId();
    const workflow = newId();
    await run([create(stream, { workflowId: workflow, tenant: "globex" })]);
    const one = { ...attach(stream, workflow, newId()), tenant: "globex", maxSessions: 1 };
    expect((await run([one]))[0]).toMatchObject({ result: "attached" });
    const two = { ...one, sessionId: newId() };
    expect((await run([two]))[0]).toMatchObject({ result: "too_many" });
    await run([endSession(stream, one.sessionId, undefined)]);
    expect((await run([two]))[0]).toMatchObject({ result: "attached" });
  });
});
