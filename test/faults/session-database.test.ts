/** The database goes away under sessions: they say ERROR, take entries as long as there is room, and store all when it is back. */
import { Code } from "@connectrpc/connect";
import pg from "pg";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { findOrphans } from "../../db/statements/find-orphans.ts";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import { SessionClosedReason, SessionState } from "../../gen/tributary/v1/session_pb.ts";
import { readConfig } from "../../server/config.ts";
import { type RunningServer, startServer } from "../../server/main.ts";
import { errorOf } from "../api/codes.ts";
import { stored, texts } from "../api/session-world.ts";
import { newWorkflow } from "../api/trees.ts";
import { createTestDatabase, type TestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { adminKey, type Clients, createClients, createTenant } from "../support/server.ts";
import { openSession, SessionCall } from "../support/session-call.ts";
import { SessionWriter } from "../support/session-client.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";
import { checkStored, nap, numbered } from "./session-check.ts";

let database: TestDatabase;
let proxy: TcpProxy;
let server: RunningServer;
let pool: pg.Pool;
let acme: Clients;

beforeAll(async () => {
  database = await createTestDatabase(inject("clusterUrl"), { template });
  const url = new URL(database.url);
  proxy = await startTcpProxy(url.hostname, Number(url.port));
  url.port = String(proxy.port);
  server = await startServer(
    readConfig({ DATABASE_URL: url.href, PORT: "0", TRIBUTARY_ADMIN_KEY: adminKey, LOG_LEVEL: "silent" }),
  );
  acme = await createTenant(createClients(server.url, adminKey), "acme");
  pool = new pg.Pool({ connectionString: database.url });
});
afterAll(async () => {
  await until(() => expect(server.gauges()).toEqual({ openCalls: 0, liveStreams: 0, waitingCommands: 0 }));
  await server.close();
  await proxy.close();
  expect(await findOrphans(pool)).toEqual([]);
  await pool.end();
  await database.drop();
});

const ready = () => until(async () => expect((await fetch(`${server.url}/readyz`)).status).toBe(200), 20_000);
const state = (call: SessionCall, wanted: SessionState) =>
  until(() => expect(call.all("status").at(-1)).toMatchObject({ state: wanted }), 20_000);

/** As a cut does, while the entries of a session wait behind it. */
async function away<T>(run: () => Promise<T>): Promise<T> {
  proxy.cut();
  try {
    return await run();
  } finally {
    proxy.restore();
  }
}

test("the state is ERROR, entries wait, and all are stored when it is back", {
  timeout: 90_000,
}, async () => {
  const workflowId = await newWorkflow(acme);
  const call = await openSession(acme, workflowId, { ackLevel: AckLevel.ACCEPTED });
  call.batch(1, texts(10));
  await call.durable(10);
  await away(async () => {
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
  expect(await stored(acme, workflowId)).toEqual(texts(120));
});

test("somebody who holds the lock of one stream puts its sessions into ERROR, and no others", {
  timeout: 90_000,
}, async () => {
  const [locked, free] = [await newWorkflow(acme), await newWorkflow(acme)];
  const call = await openSession(acme, locked);
  const other = await openSession(acme, free);
  const client = await pool.connect();
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
  expect(await stored(acme, locked)).toEqual(texts(10));
});

test("a close with drain, and a half-close, wait for it", { timeout: 90_000 }, async () => {
  await ready();
  const workflowId = await newWorkflow(acme);
  const closing = await openSession(acme, workflowId, { ackLevel: AckLevel.ACCEPTED });
  const halfClosing = await openSession(acme, workflowId, { ackLevel: AckLevel.ACCEPTED });
  await away(async () => {
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
  expect(await stored(acme, workflowId)).toHaveLength(40);
});

test("meanwhile a session cannot begin or be resumed: UNAVAILABLE; afterwards it can", {
  timeout: 90_000,
}, async () => {
  await ready();
  const workflowId = await newWorkflow(acme);
  const call = await openSession(acme, workflowId);
  const { sessionId } = await call.opened();
  call.batch(1, texts(3));
  await call.durable(3);
  await away(async () => {
    const refused = await Promise.all(
      ["", sessionId].map((id) => {
        const refusedCall = new SessionCall(acme);
        refusedCall.say("init", { workflowId, session: { sessionId: id } });
        return errorOf(refusedCall.ended);
      }),
    );
    for (const error of refused) expect(Code[error.code]).toBe("Unavailable");
  });
  await ready();
  const again = await openSession(acme, workflowId, { sessionId });
  expect(await again.opened()).toMatchObject({ lastSequence: 3n });
  expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.SUPERSEDED });
});

test("connections to it that break again and again cost nothing but time", { timeout: 120_000 }, async () => {
  await ready();
  const count = 4000;
  const writers = await Promise.all(
    [0, 1, 2].map(
      async (i) =>
        new SessionWriter(acme, {
          workflowId: await newWorkflow(acme),
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
    await away(() => nap(50));
  }
  await running;
  for (const writer of writers) {
    await checkStored(pool, writer, count);
    // The connection of the client had nothing to do with it.
    expect(writer.connections).toBe(1);
    expect(writer.refusals).toEqual(new Map());
  }
});
