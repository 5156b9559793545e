/** Sessions over a bad network: cut and silent connections, and two that want the same session. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SessionClosedReason, SessionState } from "../../gen/tributary/v1/session_pb.ts";
import { newWorkflow } from "../api/trees.ts";
import { isFull } from "../support/random.ts";
import { type Clients, createClients, useServer } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { SessionWriter } from "../support/session-client.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";
import { checkStored, nap, numbered } from "./session-check.ts";

const server = useServer();
let proxy: TcpProxy;
let far: Clients;

beforeAll(async () => {
  const { hostname, port } = new URL(server.url);
  proxy = await startTcpProxy(hostname, Number(port));
  far = createClients(`http://127.0.0.1:${proxy.port}`, server.acme.key);
});
afterAll(() => proxy.close());

const stateOf = async (sessionId: string) =>
  (await server.admin.admin.listSessions({ sessionId })).sessions[0]?.state;

test("cut connections lose and double nothing", { timeout: 120_000 }, async () => {
  const count = 5000;
  const writers = await Promise.all(
    [1, 7, 40].map(
      async (size) =>
        new SessionWriter(far, {
          workflowId: await newWorkflow(server.acme),
          entries: numbered(count),
          batchSize: () => size,
        }),
    ),
  );
  const running = Promise.all(writers.map((writer) => writer.run()));
  running.catch(() => {}); // awaited below
  const durable = () => writers.reduce((sum, writer) => sum + writer.durable, 0);
  for (let cut = 1; cut <= 8; cut++) {
    await until(() => expect(durable()).toBeGreaterThan((cut * count * writers.length) / 10), 30_000);
    proxy.cut();
    await nap(10);
    proxy.restore();
  }
  await running;
  for (const writer of writers) {
    await checkStored(server.pool, writer, count);
    expect(writer.refusals).toEqual(new Map());
    expect(writer.connections).toBeGreaterThan(2);
  }
});

test("two connections that fight for one session take turns, and each number is stored once", {
  timeout: 90_000,
}, async () => {
  const workflowId = await newWorkflow(server.acme);
  const call = await openSession(server.acme, workflowId);
  const { sessionId } = await call.opened();
  const count = 3000;
  const entries = numbered(count);
  const writers = [server.acme, server.clients(server.acme.key)].map((clients) => {
    const writer = new SessionWriter(clients, { workflowId, entries, batchSize: () => 5 });
    writer.sessionId = sessionId;
    return writer;
  });
  await Promise.all(writers.map((writer) => writer.run()));
  expect(Math.max(...writers.map(({ connections }) => connections))).toBeGreaterThan(1);
  expect(writers.some(({ durable }) => durable === count)).toBe(true);
  for (const writer of writers) await checkStored(server.pool, writer, count);
});

// Minutes: in the full selection only, not skipped in the other.
if (isFull) {
  describe("silence", () => {
    test("15 s of it is broken by the server's heartbeats; a client silent for 45 s is DETACHED; heartbeats keep it", {
      timeout: 120_000,
    }, async () => {
      const began = Date.now();
      const workflowId = await newWorkflow(server.acme);
      const idle = await openSession(server.acme, workflowId);
      const alive = await openSession(server.acme, workflowId);
      const beat = setInterval(() => alive.say("heartbeat", {}), 15_000);
      try {
        const closed = await idle.closed();
        expect(closed).toMatchObject({ reason: SessionClosedReason.DETACHED });
        expect(Date.now() - began).toBeGreaterThan(40_000);
        expect(Date.now() - began).toBeLessThan(65_000);
        expect(idle.replies.filter((reply) => reply.case === "heartbeat").length).toBeGreaterThanOrEqual(2);
        await until(() => expect(Date.now() - began).toBeGreaterThan(70_000), 60_000);
        expect(alive.all("closed")).toEqual([]);
        alive.batch(1, ["1"]);
        await alive.durable(1);
        const { sessionId } = await idle.opened();
        await openSession(server.acme, workflowId, { sessionId });
      } finally {
        clearInterval(beat);
      }
    });

    test("of the network detaches the session; it goes on over a connection that works", {
      timeout: 120_000,
    }, async () => {
      const workflowId = await newWorkflow(server.acme);
      const call = await openSession(far, workflowId);
      const { sessionId } = await call.opened();
      call.batch(1, ["1"]);
      await call.durable(1);
      proxy.silence();
      call.batch(2, ["lost on the way"]);
      await until(async () => expect(await stateOf(sessionId)).toBe(SessionState.DETACHED), 70_000);
      const again = await openSession(server.acme, workflowId, { sessionId });
      expect(await again.opened()).toMatchObject({ lastSequence: 1n });
      proxy.restore();
      proxy.cut();
      proxy.restore();
    });
  });
}

test("a session is taken over at once from a connection that fell silent", async () => {
  const workflowId = await newWorkflow(server.acme);
  const call = await openSession(far, workflowId);
  const { sessionId } = await call.opened();
  call.batch(1, ["1"]);
  await call.durable(1);
  proxy.silence();
  call.batch(2, ["lost on the way"]);
  const again = await openSession(server.acme, workflowId, { sessionId });
  expect(await again.opened()).toMatchObject({ lastSequence: 1n });
  again.batch(2, ["2"]);
  await again.durable(2);
  proxy.cut();
  proxy.restore();
});
