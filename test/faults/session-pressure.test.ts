/**
 * More than can be stored: sessions feel pressure, then refusals, then relief; memory stays bounded; nothing is lost; and one
 * tenant's flood leaves another tenant's session working.
 */
import { once } from "node:events";
import { connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import pg from "pg";
import { afterAll, beforeAll, expect, inject } from "vitest";
import { findOrphans } from "../../db/statements/find-orphans.ts";
import { AckLevel } from "../../gen/tributary/v1/event_pb.ts";
import {
  Priority,
  RejectionCode,
  SessionState,
  type SessionStatus,
} from "../../gen/tributary/v1/session_pb.ts";
import { PublishTaskStreamRequestSchema } from "../../gen/tributary/v1/task_stream_service_pb.ts";
import { texts } from "../api/session-world.ts";
import { newWorkflow } from "../api/trees.ts";
import { createTestDatabase, type TestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { rotate } from "../support/rotating.ts";
import { adminKey, type Clients, createClients, createTenant } from "../support/server.ts";
import { openSession, type SessionCall } from "../support/session-call.ts";
import { SessionWriter } from "../support/session-client.ts";
import { type SpawnedServer, spawnServer } from "../support/spawned-server.ts";
import { holdStreams } from "../support/stream-lock.ts";
import { until } from "../support/until.ts";
import { checkStored, nap, numbered } from "./session-check.ts";

const some = rotate(4);

const MiB = 1024 * 1024;
let database: TestDatabase;
let server: SpawnedServer;
let pool: pg.Pool;
let acme: Clients;
let globex: Clients;

beforeAll(async () => {
  database = await createTestDatabase(inject("clusterUrl"), { template });
  server = await spawnServer({ DATABASE_URL: database.url, TRIBUTARY_ADMIN_KEY: adminKey });
  const admin = createClients(server.url, adminKey);
  [acme, globex] = await Promise.all([createTenant(admin, "acme"), createTenant(admin, "globex")]);
  pool = new pg.Pool({ connectionString: database.url });
});
afterAll(async () => {
  expect(await findOrphans(pool)).toEqual([]);
  await pool.end();
  await server.kill("SIGTERM");
  await database.drop();
});

interface Watched {
  readonly writer: SessionWriter;
  readonly statuses: SessionStatus[];
  readonly overloads: { retryAfterMs: number }[];
}

/** Sessions of the lane HIGH on trees of their own, each with this many entries. */
async function flood(clients: Clients, sessions: number, count: number, filler = ""): Promise<Watched[]> {
  return Promise.all(
    Array.from({ length: sessions }, async () => {
      const statuses: SessionStatus[] = [];
      const overloads: { retryAfterMs: number }[] = [];
      const writer = new SessionWriter(clients, {
        workflowId: await newWorkflow(clients),
        entries: numbered(count, undefined, filler),
        batchSize: () => 50,
        session: { priority: Priority.HIGH, ackLevel: AckLevel.ACCEPTED },
        onReply: (message) => {
          if (message.case === "status") statuses.push(message.value);
          if (message.case === "rejected" && message.value.code === RejectionCode.OVERLOADED)
            overloads.push(message.value);
        },
      });
      return { writer, statuses, overloads };
    }),
  );
}

/** Attaches them all, then lets nothing of their trees (and of others given) be stored, and only then lets them write. */
async function against(watched: readonly Watched[], ...workflowIds: string[]) {
  for (const { writer } of watched) writer.sendUpTo(0);
  const running = Promise.all(watched.map(({ writer }) => writer.run()));
  running.catch(() => {}); // the test awaits it
  await until(() => expect(watched.every(({ writer }) => writer.connections === 1)).toBe(true));
  const lock = await holdStreams(database.url, ...(await workflowsOf("acme")), ...workflowIds);
  for (const { writer } of watched) writer.sendUpTo(Number.POSITIVE_INFINITY);
  return { running, release: lock.release };
}

const workflowsOf = async (tenant: string): Promise<string[]> => {
  const { rows } = await pool.query(
    "select workflow_id from workflow where tenant_slug = $1 and status = 1",
    [tenant],
  );
  return rows.map((row) => row.workflow_id);
};

const highAccepted = { priority: Priority.HIGH, ackLevel: AckLevel.ACCEPTED };
const { OVERLOADED, BACKPRESSURE, ACTIVE } = SessionState;

/** Fills the lane, 200 entries at a time, until `enough` says so of the writing session or nothing more is taken. */
async function fill(enough: (status: SessionStatus) => boolean) {
  const trees = await Promise.all(Array.from({ length: 12 }, () => newWorkflow(acme)));
  const calls = await Promise.all(trees.map((workflowId) => openSession(acme, workflowId, highAccepted)));
  const lock = await holdStreams(database.url, ...trees);
  const seen: { waiting: number; pressure: number; state: SessionState }[] = [];
  for (const call of calls) {
    for (let first = 1; first <= 1000; first += 200) {
      call.batch(first, texts(200, first));
      await call.heard();
      if (call.all("rejected").length > 0) return { lock, seen, refused: call };
      const status = call.all("status").at(-1);
      if (status === undefined) throw new Error("no status");
      seen.push({ waiting: 200 * (seen.length + 1), pressure: status.pressure, state: status.state });
      if (enough(status)) return { lock, seen, refused: undefined };
    }
  }
  throw new Error("12,000 entries found room in a lane of 10,000");
}

some.add(
  "the state of who writes is BACKPRESSURE over 80 %, OVERLOADED when full, and ACTIVE again at 50 %",
  async () => {
    const { lock, seen, refused } = await fill(() => false);
    console.log(
      `pressure: ${seen
        .filter((_, i) => i % 4 === 3)
        .map((each) => `${each.waiting}: ${each.pressure.toFixed(2)} in state ${each.state}`)
        .join(", ")}; refused beyond ${seen.at(-1)?.waiting}`,
    );
    for (const { pressure, state } of seen) {
      if (pressure < 0.8) expect(state).toBe(ACTIVE);
      else if (pressure > 0.8 && pressure < 1) expect(state).toBe(BACKPRESSURE);
    }
    expect(seen.map(({ state }) => state)).toContain(BACKPRESSURE);
    const rejected = await refused?.nth("rejected", 1);
    expect(rejected).toMatchObject({ code: RejectionCode.OVERLOADED, final: false });
    expect(rejected?.retryAfterMs).toBeGreaterThan(0);
    expect(rejected?.sequence).toBe(rejected?.expectedSequence);
    await until(() => expect(refused?.all("status").map(({ state }) => state)).toContain(OVERLOADED));
    await lock.release();
    // Told without being asked.
    await until(() => expect(refused?.all("status").at(-1)).toMatchObject({ state: ACTIVE }));
    expect(refused?.all("status").at(-1)?.pressure).toBeLessThanOrEqual(0.5);
    const first = Number(rejected?.expectedSequence);
    refused?.batch(first, ["again"]);
    await refused?.durable(first);
  },
);

some.add(
  "a session that writes nothing is told of BACKPRESSURE and of its end, and when asked, state and pressure agree",
  async () => {
    const idle = await openSession(acme, await newWorkflow(acme), highAccepted);
    const asking = await openSession(acme, await newWorkflow(acme), highAccepted);
    const { lock, seen } = await fill(({ pressure }) => pressure > 0.85);
    try {
      expect(seen.at(-1)?.pressure).toBeLessThan(1);
      const answer = await asking.heard();
      expect(answer.pressure).toBeGreaterThan(0.8);
      expect(answer.state).toBe(BACKPRESSURE);
      await until(() => expect(idle.all("status").at(-1)).toMatchObject({ state: BACKPRESSURE }), 5000);
    } finally {
      await lock.release();
    }
    await until(() => expect(idle.all("status").at(-1)).toMatchObject({ state: ACTIVE }));
  },
);

some.add(
  "sessions that go back as they are told store everything, however often they are refused",
  {
    timeout: 120_000,
  },
  async () => {
    const count = 2000;
    const watched = await flood(acme, 14, count);
    const { running, release } = await against(watched);
    await until(() => {
      expect(watched.filter(({ overloads }) => overloads.length > 0).length).toBeGreaterThan(1);
    }).finally(release);
    await running;
    for (const { statuses, overloads } of watched) {
      const states = statuses.map(({ state }) => state);
      for (const { pressure, queueDepth, queueCapacity } of statuses) {
        expect(pressure).toBeLessThanOrEqual(1);
        expect(queueDepth).toBeLessThanOrEqual(10_000);
        expect(queueCapacity).toBe(10_000);
      }
      for (const { pressure, state } of statuses) {
        if (state === SessionState.BACKPRESSURE) expect(pressure).toBeGreaterThan(0.5);
        if (state === SessionState.ACTIVE) expect(pressure).toBeLessThanOrEqual(0.5);
      }
      // Sent on a change of state: never the same twice in a row.
      for (const [i, state] of states.entries()) expect(state).not.toBe(states[i - 1]);
      for (const { retryAfterMs } of overloads) expect(retryAfterMs).toBeGreaterThan(0);
      if (overloads.length > 0) expect(states).toContain(SessionState.OVERLOADED);
    }
    for (const { writer } of watched) await checkStored(pool, writer, count);
  },
);

some.add(
  "what is accepted while nothing can be stored is bounded in bytes, and so is the server's memory",
  {
    timeout: 180_000,
  },
  async () => {
    const count = 60;
    const filler = "x".repeat(100_000);
    const warm = await flood(acme, 10, count, filler);
    let base = 0;
    let peak = 0;
    const watch = setInterval(() => void server.rss().then((rss) => (peak = Math.max(peak, rss))), 50);
    try {
      await Promise.all(warm.map(({ writer }) => writer.run()));
      base = peak;
      // 40 sessions offer 160 MB of credit and 240 MB in all; the lane takes 64 MiB.
      const watched = await flood(acme, 40, count, filler);
      const { running, release } = await against(watched);
      await until(() => {
        expect(watched.filter(({ overloads }) => overloads.length > 0).length).toBeGreaterThan(10);
      }, 20_000).finally(release);
      await running;
      for (const { writer } of watched) await checkStored(pool, writer, count);
    } finally {
      clearInterval(watch);
    }
    console.log(
      `RSS: ${Math.round(base / MiB)} MiB at most while 60 MB were stored, ${Math.round(peak / MiB)} MiB while 240 MB were offered and nothing could be stored`,
    );
    // The lane's 64 MiB, messages on their way, and garbage; 160 MB of granted credit would not fit into it.
    expect(peak - base).toBeLessThan(150 * MiB);
  },
);

some.add("one tenant's flood leaves another tenant's session working", { timeout: 120_000 }, async () => {
  const call = await openSession(globex, await newWorkflow(globex), { priority: Priority.HIGH });
  const measure = async (session: SessionCall, first: number, times: number) => {
    const taken: number[] = [];
    for (let n = first; n < first + times; n++) {
      const began = performance.now();
      // The flooder's own session may be refused for a while.
      for (let stored = false; !stored; ) {
        const refusals = session.all("rejected").length;
        session.batch(n, [`${n}`]);
        stored = await Promise.race([
          session.durable(n).then(() => true),
          session
            .nth("rejected", refusals + 1)
            .then(({ retryAfterMs }) => nap(retryAfterMs).then(() => false)),
        ]);
      }
      taken.push(performance.now() - began);
    }
    taken.sort((a, b) => a - b);
    return { p50: taken[times / 2] ?? 0, max: taken.at(-1) ?? 0 };
  };
  // Of the tenant that floods, beside its own flood.
  const inside = await openSession(acme, await newWorkflow(acme), { priority: Priority.HIGH });
  const alone = await measure(call, 1, 50);
  const count = 8000;
  const watched = await flood(acme, 20, count);
  const running = Promise.all(watched.map(({ writer }) => writer.run()));
  running.catch(() => {}); // awaited below
  await until(() => expect(watched.every(({ writer }) => writer.durable > 0)).toBe(true));
  const [flooded, own] = await Promise.all([measure(call, 51, 50), measure(inside, 1, 50)]);
  const stillFlooding = watched.some(({ writer }) => writer.durable < count);
  await running;
  const show = ({ p50, max }: { p50: number; max: number }) =>
    `p50 ${p50.toFixed(1)} ms, max ${max.toFixed(1)} ms`;
  console.log(
    `an entry to durable: another tenant alone ${show(alone)}; in the flood ${show(flooded)}; a session of the flooder ${show(own)}`,
  );
  expect(stillFlooding).toBe(true);
  expect(call.rejections()).toEqual([]);
  expect(flooded.max).toBeLessThan(3000);
  for (const { writer } of watched) await checkStored(pool, writer, count);
});

some.add(
  "one tenant's full share leaves room for another's session in the same lane, also while nothing can be stored",
  {
    timeout: 120_000,
  },
  async () => {
    const count = 1500;
    const workflowId = await newWorkflow(globex);
    const call = await openSession(globex, workflowId, {
      priority: Priority.HIGH,
      ackLevel: AckLevel.ACCEPTED,
    });
    const watched = await flood(acme, 14, count);
    const { running, release } = await against(watched, workflowId);
    try {
      await until(() => {
        expect(watched.filter(({ overloads }) => overloads.length > 0).length).toBeGreaterThan(1);
      }, 5000);
      for (let first = 1; first <= 500; first += 50)
        call.batch(
          first,
          Array.from({ length: 50 }, (_, i) => `${first + i}`),
        );
      await call.accepted(500);
    } finally {
      await release();
    }
    await call.durable(500, 30_000);
    expect(call.rejections()).toEqual([]);
    await running;
    for (const { writer } of watched) await checkStored(pool, writer, count);
  },
);

some.add(
  "a client that sends and never reads the answers is held up, at bounded memory",
  {
    timeout: 120_000,
  },
  async () => {
    const connection = connect(server.url);
    const call = connection.request({
      ":method": "POST",
      ":path": "/tributary.v1.TaskStreamService/PublishTaskStream",
      "content-type": "application/grpc+proto",
      te: "trailers",
      authorization: `Bearer ${acme.key}`,
    });
    call.on("error", () => {}); // destroyed below
    call.pause();
    const init = toBinary(
      PublishTaskStreamRequestSchema,
      create(PublishTaskStreamRequestSchema, {
        operation: { case: "init", value: { workflowId: await newWorkflow(acme) } },
      }),
    );
    const head = Buffer.alloc(5);
    head.writeUInt32BE(init.length, 1);
    call.write(Buffer.concat([head, init]));
    const before = await server.rss();
    // Empty messages, five bytes each; each is answered with a rejection twenty times as long.
    const chunk = Buffer.alloc(5 * 20_000);
    let sent = 0;
    let heldUp = false;
    let peak = before;
    for (; sent < 3_000_000 && !heldUp; sent += 20_000) {
      if (!call.write(chunk)) {
        heldUp = await Promise.race([once(call, "drain").then(() => false), nap(3000).then(() => true)]);
      }
      peak = Math.max(peak, await server.rss());
    }
    console.log(
      `${sent} messages ${heldUp ? "until it was held up" : "and not held up"}: ${Math.round((peak - before) / MiB)} MiB more`,
    );
    call.destroy();
    connection.destroy();
    expect(peak - before).toBeLessThan(150 * MiB);
    expect(heldUp).toBe(true);
  },
);

some.take();
