/** The database goes away under sessions: they say ERROR, take entries as long as there is room, and store all when it is back. */
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import { SessionClosedReason, SessionState } from "../../gen/tributary/v1/session_pb.ts";
import { errorOf } from "../api/codes.ts";
import { stored, texts } from "../api/session-world.ts";
import { newWorkflow } from "../api/trees.ts";
import { useDistantDatabase } from "../support/distant-database.ts";
import { openSession, SessionCall } from "../support/session-call.ts";
import { SessionWriter } from "../support/session-client.ts";
import { until } from "../support/until.ts";
import { checkStored, nap, numbered } from "./session-check.ts";

const service = useDistantDatabase();

const state = (call: SessionCall, wanted: SessionState) =>
  until(() => expect(call.all("status").at(-1)).toMatchObject({ state: wanted }), 20_000);

test("the state is ERROR, entries wait, and all are stored when it is back", {
  timeout: 90_000,
}, async () => {
  const workflowId = await newWorkflow(service.acme);
  const call = await openSession(service.acme, workflowId, { ackLevel: AckLevel.ACCEPTED });
  call.batch(1, texts(10));
  await call.durable(10);
  await service.away(async () => {
    call.batch(11, texts(100, 11));
    expect(await call.accepted(110)).toMatchObject({ level: AckLevel.ACCEPTED });
    await state(call, SessionState.ERROR);
    // Still taken.
    call.batch(111, texts(10, 111));
    await call.accepted(120);
    expect(call.all("ack").findLast(({ level }) => level === AckLevel.DURABLE)?.upToSequence).toBe(10n);
  });
  await call.durable(120, 30_000);
  await state(call, SessionState.ACTIVE);
  expect(call.rejections()).toEqual([]);
  expect(await stored(service.acme, workflowId)).toEqual(texts(120));
});

test("somebody who holds the lock of one stream puts its sessions into ERROR, and no others", {
  timeout: 90_000,
}, async () => {
  const [locked, free] = [await newWorkflow(service.acme), await newWorkflow(service.acme)];
  const call = await openSession(service.acme, locked);
  const other = await openSession(service.acme, free);
  const client = await service.pool.connect();
  try {
    await client.query("begin");
    await client.query(
      "select from stream where stream_id = (select stream_id from workflow where workflow_id = $1) for update",
      [locked],
    );
    call.batch(1, texts(10));
    await state(call, SessionState.ERROR);
    expect(call.all("status").at(-1)?.message).toContain("locked by somebody else");
    other.batch(1, texts(10));
    await other.durable(10);
    expect(other.all("status")).toEqual([]);
  } finally {
    await client.query("rollback");
    client.release();
  }
  await call.durable(10, 20_000);
  await state(call, SessionState.ACTIVE);
  expect(call.rejections()).toEqual([]);
  expect(await stored(service.acme, locked)).toEqual(texts(10));
});

test("a close with drain, and a half-close, wait for it", { timeout: 90_000 }, async () => {
  await service.ready();
  const workflowId = await newWorkflow(service.acme);
  const closing = await openSession(service.acme, workflowId, { ackLevel: AckLevel.ACCEPTED });
  const halfClosing = await openSession(service.acme, workflowId, { ackLevel: AckLevel.ACCEPTED });
  await service.away(async () => {
    for (const call of [closing, halfClosing]) {
      call.batch(1, texts(20));
      await call.accepted(20);
    }
    closing.say("close", { drain: true, lastSequence: 20n });
    halfClosing.halfClose();
    await until(() => expect(closing.all("status").length).toBeGreaterThan(0));
    for (const call of [closing, halfClosing]) expect(call.all("closed")).toEqual([]);
  });
  expect(await closing.closed()).toMatchObject({ reason: SessionClosedReason.CLIENT, finalSequence: 20n });
  expect(await halfClosing.closed()).toMatchObject({
    reason: SessionClosedReason.DETACHED,
    finalSequence: 20n,
  });
  expect(await stored(service.acme, workflowId)).toHaveLength(40);
});

test("meanwhile a session cannot begin or be resumed: UNAVAILABLE; afterwards it can", {
  timeout: 90_000,
}, async () => {
  await service.ready();
  const workflowId = await newWorkflow(service.acme);
  const call = await openSession(service.acme, workflowId);
  const { sessionId } = await call.opened();
  call.batch(1, texts(3));
  await call.durable(3);
  await service.away(async () => {
    const refused = await Promise.all(
      ["", sessionId].map((id) => {
        const refusedCall = new SessionCall(service.acme);
        refusedCall.say("init", { workflowId, session: { sessionId: id } });
        return errorOf(refusedCall.ended);
      }),
    );
    for (const error of refused) expect(Code[error.code]).toBe("Unavailable");
  });
  await service.ready();
  const again = await openSession(service.acme, workflowId, { sessionId });
  expect(await again.opened()).toMatchObject({ lastSequence: 3n });
  expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.SUPERSEDED });
});

test("connections to it that break again and again cost nothing but time", { timeout: 120_000 }, async () => {
  await service.ready();
  const count = 4000;
  const writers = await Promise.all(
    [0, 1, 2].map(
      async (i) =>
        new SessionWriter(service.acme, {
          workflowId: await newWorkflow(service.acme),
          entries: numbered(count),
          batchSize: () => 5 + 20 * i,
        }),
    ),
  );
  const running = Promise.all(writers.map((writer) => writer.run()));
  running.catch(() => {}); // awaited below
  const durable = () => writers.reduce((sum, writer) => sum + writer.durable, 0);
  for (let cut = 1; cut <= 5; cut++) {
    await until(() => expect(durable()).toBeGreaterThan((cut * count * writers.length) / 7), 30_000);
    await service.away(() => nap(50));
  }
  await running;
  for (const writer of writers) {
    await checkStored(service.pool, writer, count);
    // The connection of the client had nothing to do with it.
    expect(writer.connections).toBe(1);
    expect(writer.refusals).toEqual(new Map());
  }
});
