/**
 * Sessions with a random life: cut and half-closed connections, killed and drained servers, locked streams, pauses, broken
 * database connections, poison entries. Whatever happens, each entry is stored exactly once and in order, and the server says
 * nothing that the protocol does not allow. `TRIBUTARY_SEED=… ` repeats a life (its choices; the timing is the machine's).
 */
import pg from "pg";
import { describe, expect, inject, test } from "vitest";
import { findOrphans } from "../../db/statements/find-orphans.ts";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import { FlowAction, Priority } from "../../gen/tributary/v1/session_pb.ts";
import { newWorkflow } from "../api/trees.ts";
import { createTestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { isFull, Random, seeds } from "../support/random.ts";
import { adminKey, createClients, createTenant } from "../support/server.ts";
import { SessionWriter } from "../support/session-client.ts";
import { spawnServer } from "../support/spawned-server.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";
import { checkStored, nap, numbered } from "./session-check.ts";

const steps = isFull ? 60 : 14;
const perStep = 120;

describe.each(seeds(isFull ? 10 : 1))("with seed %i", (seed) => {
  test("each entry of each session is stored exactly once and in order", { timeout: 300_000 }, async () => {
    const random = new Random(seed);
    const database = await createTestDatabase(inject("clusterUrl"), { template });
    const env = { DATABASE_URL: database.url, TRIBUTARY_ADMIN_KEY: adminKey, DRAIN_TIMEOUT_MS: "3000" };
    const pool = new pg.Pool({ connectionString: database.url });
    pool.on("error", () => {}); // its connections are ended on purpose
    let server = await spawnServer(env);
    const proxy = await startTcpProxy("127.0.0.1", Number(server.port));
    const near = await createTenant(createClients(server.url, adminKey), "acme");
    const far = createClients(`http://127.0.0.1:${proxy.port}`, near.key);
    const root = await newWorkflow(near);
    const workflows = [
      root,
      await newWorkflow(near, root),
      await newWorkflow(near),
      root,
      await newWorkflow(near),
    ];
    const count = steps * perStep;
    const lives = workflows.map((workflowId, i) => {
      const poison = new Set(Array.from({ length: random.below(8) }, () => 1 + random.below(count)));
      const sizes = new Random(seed + i);
      const writer = new SessionWriter(i % 2 === 0 ? near : far, {
        workflowId,
        entries: numbered(count, poison, "x".repeat(random.below(300))),
        batchSize: () => 1 + sizes.below(sizes.chance(0.1) ? 500 : 40),
        session: {
          ackLevel: random.pick([AckLevel.ACCEPTED, AckLevel.DURABLE]),
          priority: random.pick([Priority.HIGH, Priority.NORMAL, Priority.LOW]),
          clientBufferSize: random.pick([0, 7, 100, 1000]),
        },
      });
      return { writer, poison };
    });
    const writers = lives.map(({ writer }) => writer);
    const flow = (writer: SessionWriter, action: FlowAction) =>
      writer.say({ operation: { case: "flow", value: { action } } });
    const acts: Record<string, (writer: SessionWriter) => unknown> = {
      cut: (writer) => writer.cut(),
      halfClose: (writer) => writer.halfClose(),
      pause: async (writer) => {
        flow(writer, FlowAction.PAUSE);
        await nap(random.below(50));
        flow(writer, FlowAction.RESUME);
      },
      lock: async (writer) => {
        const lock = await holdStreams(database.url, workflows[writers.indexOf(writer)] ?? root);
        await nap(random.below(isFull ? 3000 : 300));
        if (random.chance(0.5)) writer.cut();
        await nap(random.below(30));
        await lock.release();
      },
      network: async () => {
        proxy.cut();
        await nap(random.below(30));
        proxy.restore();
      },
      database: () =>
        pool.query(
          `select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid() and random() < 0.5`,
        ),
      kill: async () => {
        await server.kill(random.chance(0.7) ? "SIGKILL" : "SIGTERM");
        server = await spawnServer({ ...env, PORT: server.port });
      },
    };
    const done: string[] = [];
    try {
      for (const writer of writers) writer.sendUpTo(0);
      const running = Promise.all(writers.map((writer) => writer.run()));
      running.catch(() => {}); // awaited below
      for (let step = 1; step <= steps; step++) {
        // Each act falls into the writing of one step; how much of it was written by then is left to the machine.
        for (const writer of writers) writer.sendUpTo(step * perStep);
        await nap(random.below(20));
        const name = random.pick(Object.keys(acts));
        done.push(name);
        await acts[name]?.(random.pick(writers));
        const behind = () => writers.filter(({ durable }) => durable < (step - 1) * perStep).length;
        await Promise.race([running, until(() => expect(behind()).toBe(0), 20_000)]);
      }
      await running;
      for (const { writer, poison } of lives) await checkStored(pool, writer, count, poison);
      expect(await findOrphans(pool)).toEqual([]);
    } finally {
      console.log(
        `seed ${seed}: ${done.join(" ")}; connections ${writers.map(({ connections }) => connections)}`,
      );
      await server.kill("SIGKILL");
      await proxy.close();
      await pool.end();
      await database.drop();
    }
  });
});
