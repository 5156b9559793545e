/** What docs/operations/streaming.md says of pressure, of a database that is away, and of codes, tried. */
import { expect, inject, test } from "vitest";
import {
  FlowAction,
  Priority,
  RejectionCode,
  SessionClosedReason,
  SessionState,
  type SessionStatus,
} from "../../gen/tributary/v1/session_pb.ts";
import { readConfig } from "../../server/config.ts";
import { startServer } from "../../server/main.ts";
import { newWorkflow, readAll, repeat } from "../api/trees.ts";
import { createTestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { adminKey, createClients, createTenant, useServer } from "../support/server.ts";
import { openSession, type SessionCall } from "../support/session-call.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";
import { readPage, rowsOf } from "./pages.ts";

const server = useServer();
const page = readPage("docs/operations/streaming.md");

/** Nothing of this tree can be stored until it is free again. */
async function lock(workflowId: string): Promise<() => Promise<void>> {
  const locker = await server.pool.connect();
  await locker.query("begin");
  await locker.query(
    "select from stream join workflow using (stream_id) where workflow_id = $1 for update of stream",
    [workflowId],
  );
  return async () => {
    await locker.query("rollback");
    locker.release();
  };
}

test("pressure tells at 80 %, refuses at 100 % and is over at 50 %, and nothing of it is lost", async () => {
  const workflowId = await newWorkflow(server.acme);
  // Of the high lane one tenant alone gets half: 5,000 entries, five sessions.
  const calls: SessionCall[] = [];
  for (let i = 0; i < 6; i++) {
    calls.push(
      await openSession(server.acme, workflowId, { priority: Priority.HIGH, clientBufferSize: 900 }),
    );
  }
  const said = (at: number): SessionStatus[] => calls[at]?.all("status") ?? [];
  const listed = async () =>
    (await server.acme.admin.listSessions({})).sessions
      .filter((session) => session.workflowId === workflowId)
      .map(({ state }) => state);
  expect(await listed()).toEqual(repeat(6, () => SessionState.ACTIVE));

  const free = await lock(workflowId);
  try {
    for (const [i, call] of calls.entries()) {
      for (let first = 1; first <= 900; first += 100) {
        call.batch(
          first,
          repeat(100, (at) => `${i} ${first + at}`),
        );
      }
      if (i === 5) continue;
      call.say("flow", { action: FlowAction.BUFFER_STATUS });
      await until(() => expect(said(i).at(-1)?.queueDepth).toBe(900 * (i + 1)));
    }
    await until(() => expect(said(5).at(-1)?.state).toBe(SessionState.OVERLOADED));
    const firstTold = said(4)[0];
    expect(firstTold).toMatchObject({ state: SessionState.BACKPRESSURE, queueCapacity: 10_000 });
    expect(firstTold?.pressure).toBeGreaterThanOrEqual(0.8);
    const [refused] = calls[5]?.all("rejected") ?? [];
    expect(refused).toMatchObject({ code: RejectionCode.OVERLOADED, final: false });
    expect(refused?.retryAfterMs).toBeGreaterThan(0);
    expect(await listed()).toContain(SessionState.OVERLOADED);
  } finally {
    await free();
  }
  await until(() => expect(said(5).at(-1)?.state).toBe(SessionState.ACTIVE), 30_000);
  expect(said(5).at(-1)?.pressure).toBeLessThanOrEqual(0.5);
  const [refused] = calls[5]?.all("rejected") ?? [];
  const from = Number(refused?.expectedSequence);
  calls[5]?.batch(
    from,
    repeat(901 - from, (at) => `5 ${from + at}`),
  );
  for (const call of calls) {
    await call.durable(900);
    call.say("close", { drain: true });
    expect(await call.closed()).toMatchObject({ reason: SessionClosedReason.CLIENT, finalSequence: 900n });
  }
  const texts = (await readAll(server.acme, workflowId)).slice(1).map(({ payload }) => String(payload.value));
  for (let i = 0; i < 6; i++) {
    expect(texts.filter((text) => text.startsWith(`${i} `))).toEqual(repeat(900, (at) => `${i} ${at + 1}`));
  }
}, 60_000);

test("close without drain gives up what waits, counts it, and stores none of it", async () => {
  const workflowId = await newWorkflow(server.acme);
  const call = await openSession(server.acme, workflowId);
  call.batch(1, ["1"]);
  await call.durable(1);
  const free = await lock(workflowId);
  try {
    for (let first = 2; first <= 101; first += 10)
      call.batch(
        first,
        repeat(10, (at) => `${first + at}`),
      );
    await until(() => expect(server.server.gauges().waitingCommands).toBeGreaterThan(0));
    call.say("close", { drain: false });
    await until(() => expect(call.all("status").at(-1)?.state).toBe(SessionState.DRAINING));
  } finally {
    await free();
  }
  const { discarded, finalSequence, reason } = await call.closed();
  expect(reason).toBe(SessionClosedReason.CLIENT);
  expect(discarded).toBeGreaterThan(0);
  expect(Number(finalSequence) + discarded).toBe(101);
  expect((await readAll(server.acme, workflowId)).length).toBe(1 + Number(finalSequence));
});

test("while the database is away entries wait in the state ERROR, and are stored when it is back", async () => {
  const database = await createTestDatabase(inject("clusterUrl"), { template });
  const url = new URL(database.url);
  const proxy = await startTcpProxy(url.hostname, Number(url.port));
  url.port = String(proxy.port);
  const cutOff = await startServer(
    readConfig({ DATABASE_URL: url.href, PORT: "0", TRIBUTARY_ADMIN_KEY: adminKey, LOG_LEVEL: "silent" }),
  );
  try {
    const clients = await createTenant(createClients(cutOff.url, adminKey), "acme");
    const workflowId = await newWorkflow(clients);
    const call = await openSession(clients, workflowId);
    call.batch(1, ["1"]);
    await call.durable(1);
    proxy.cut();
    call.batch(2, ["2"]);
    call.batch(3, ["3"]);
    await until(() => expect(call.all("status").at(-1)?.state).toBe(SessionState.ERROR), 20_000);
    proxy.restore();
    await call.durable(3);
    await until(() => expect(call.all("status").at(-1)?.state).toBe(SessionState.ACTIVE));
    call.say("close", { drain: true });
    expect(await call.closed()).toMatchObject({ finalSequence: 3n, discarded: 0 });
    const texts = (await readAll(clients, workflowId)).slice(1).map(({ payload }) => payload.value);
    expect(texts).toEqual(["1", "2", "3"]);
  } finally {
    await cutOff.close();
    await proxy.close();
    await database.drop();
  }
}, 60_000);

test("an entry that the database refuses costs itself, not its batch", async () => {
  await server.pool.query(`
    create function refuse_poison() returns trigger language plpgsql as $$ begin
      if new.payload = 'poison' then raise exception 'poison' using errcode = '22000'; end if;
      return new;
    end $$;
    create trigger refuse_poison before insert on event for each row execute function refuse_poison()`);
  try {
    const workflowId = await newWorkflow(server.acme);
    const call = await openSession(server.acme, workflowId);
    const texts = repeat(100, (at) => (at === 36 ? "poison" : String(at + 1)));
    call.batch(1, texts);
    call.batch(101, ["101"]);
    await call.durable(101);
    expect(call.all("rejected")).toMatchObject([{ sequence: 37n, code: RejectionCode.INVALID, final: true }]);
    const stored = (await readAll(server.acme, workflowId)).slice(1).map(({ payload }) => payload.value);
    expect(stored).toEqual([...texts.toSpliced(36, 1), "101"]);
    call.say("close", { drain: true });
    expect(await call.closed()).toMatchObject({ finalSequence: 101n });
  } finally {
    await server.pool.query("drop trigger refuse_poison on event; drop function refuse_poison");
  }
});

test("the page has each state, rejection code and reason of the protocol", () => {
  const first = rowsOf(page).map(([cell = ""]) => cell);
  for (const values of [SessionState, RejectionCode, SessionClosedReason]) {
    for (const [name, number] of Object.entries(values)) {
      if (typeof number === "number" && number > 0) expect(first.join(" ")).toContain(`\`${name}\``);
    }
  }
});
