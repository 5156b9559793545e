/** `kill -9` of the server under sessions' load: each entry is stored exactly once and in order; nothing durable is lost. */
import pg from "pg";
import { expect, inject } from "vitest";
import { findOrphans } from "../../db/statements/find-orphans.ts";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import { SessionClosedReason, SessionState } from "../../gen/tributary/v1/session_pb.ts";
import { begin, stored, texts } from "../api/session-world.ts";
import { newWorkflow } from "../api/trees.ts";
import { createTestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { isFull } from "../support/random.ts";
import { rotate } from "../support/rotating.ts";
import { adminKey, createClients, createTenant } from "../support/server.ts";
import { openSession } from "../support/session-call.ts";
import { SessionWriter } from "../support/session-client.ts";
import { spawnServer } from "../support/spawned-server.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { until } from "../support/until.ts";
import { checkStored, nap, numbered } from "./session-check.ts";

const some = rotate(1);

const perSession = 4000;
const rounds = isFull ? 12 : 3;

some.add(
  "sessions that resend from the returned number store everything once and in order over several kills",
  {
    timeout: 60_000 + rounds * 20_000,
  },
  async () => {
    const database = await createTestDatabase(inject("clusterUrl"), { template });
    const env = { DATABASE_URL: database.url, TRIBUTARY_ADMIN_KEY: adminKey };
    let server = await spawnServer(env);
    const acme = await createTenant(createClients(server.url, adminKey), "acme");
    const roots = [await newWorkflow(acme), await newWorkflow(acme), await newWorkflow(acme)];
    const child = await newWorkflow(acme, roots[0]);
    const poison = new Set([1, 777, 2500, perSession]);
    const writers = [...roots, child, child, roots[1] ?? ""].map(
      (workflowId, i) =>
        new SessionWriter(acme, {
          workflowId,
          entries: numbered(perSession, poison),
          batchSize: () => 1 + i * 3,
          session: { ackLevel: i % 2 === 0 ? AckLevel.DURABLE : AckLevel.ACCEPTED },
        }),
    );
    const running = Promise.all(writers.map((writer) => writer.run()));
    running.catch(() => {}); // awaited below
    const durable = () => writers.reduce((sum, writer) => sum + writer.durable, 0);
    const total = perSession * writers.length;
    for (let round = 1; round <= rounds; round++) {
      const goal = (total * round) / (rounds + 1);
      for (const deadline = Date.now() + 30_000; durable() < goal; ) {
        if (Date.now() > deadline) throw new Error(`stuck: ${writers.map((writer) => writer.durable)}`);
        await nap(2);
      }
      await server.kill("SIGKILL");
      server = await spawnServer({ ...env, PORT: server.port });
    }
    await running;

    const pool = new pg.Pool({ connectionString: database.url });
    for (const writer of writers) {
      await checkStored(pool, writer, perSession, poison);
      expect(writer.refusals).toEqual(new Map());
    }
    console.log(
      `connections of each session over ${rounds} kills: ${writers.map((each) => each.connections)}`,
    );
    // All of them were there for the first kills; some may have finished before the last.
    for (const writer of writers) expect(writer.connections).toBeGreaterThan(1);
    expect(await findOrphans(pool)).toEqual([]);
    await pool.end();
    await server.kill("SIGTERM");
    await database.drop();
  },
);

some.add(
  "a server that is stopped while Postgres is locked tells its sessions and ends in its time; they go on at the next",
  {
    timeout: 90_000,
  },
  async () => {
    const database = await createTestDatabase(inject("clusterUrl"), { template });
    const env = { DATABASE_URL: database.url, TRIBUTARY_ADMIN_KEY: adminKey, DRAIN_TIMEOUT_MS: "3000" };
    let server = await spawnServer(env);
    const acme = await createTenant(createClients(server.url, adminKey), "acme");
    const { workflowId, call, sessionId } = await begin(acme, { ackLevel: AckLevel.ACCEPTED });
    const lock = await holdStreams(database.url, workflowId);
    for (let n = 1; n <= 100; n++) call.batch(n, [`${n}`]);
    await call.accepted(100);
    const began = Date.now();
    const stopped = server.kill("SIGTERM");
    await until(() => expect(call.all("status").at(-1)).toMatchObject({ state: SessionState.DRAINING }));
    const ended = call.closed();
    ended.catch(() => {}); // awaited below
    await stopped;
    expect(Date.now() - began).toBeLessThan(10_000);
    await lock.release();
    server = await spawnServer({ ...env, PORT: server.port });
    const again = await openSession(acme, workflowId, { sessionId });
    const last = Number((await again.opened()).lastSequence);
    again.batch(last + 1, texts(120 - last, last + 1));
    await again.durable(120);
    expect(await stored(acme, workflowId)).toEqual(texts(120));
    again.cut();
    await server.kill("SIGTERM");
    await database.drop();
    expect(await ended).toMatchObject({ reason: SessionClosedReason.DRAINING });
  },
);

some.take();
