/** `kill -9` of the server in the middle of publishing: what was acknowledged as durable is there, once; readers go on. */
import { Code, ConnectError } from "@connectrpc/connect";
import pg from "pg";
import { expect, inject, test } from "vitest";
import { findOrphans } from "../../db/statements/find-orphans.ts";
import { AckLevel, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { createTestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { adminKey, type Clients, createClients, createTenant } from "../support/server.ts";
import { spawnServer } from "../support/spawned-server.ts";

const perProducer = 300;

test("a kill -9 in the middle of publishing loses nothing durable, doubles nothing, and readers resume", {
  timeout: 120_000,
}, async () => {
  const database = await createTestDatabase(inject("clusterUrl"), { template });
  const env = { DATABASE_URL: database.url, TRIBUTARY_ADMIN_KEY: adminKey };
  let server = await spawnServer(env);
  const acme = await createTenant(createClients(server.url, adminKey), "acme");
  const { workflow } = await acme.workflows.createWorkflow({ name: "killed" });
  const workflowId = workflow?.workflowId ?? "";
  const durable = new Set<string>();
  let kills = 0;

  const reading = readAll(acme, workflowId);
  const producers = ["one", "two", "three"].map((producerId) =>
    publishAll(acme, workflowId, producerId, durable),
  );
  while (kills < 3) {
    const mark = durable.size;
    while (durable.size < Math.min(mark + 75, 3 * perProducer - 100))
      await new Promise((resolve) => setTimeout(resolve, 5));
    await server.kill("SIGKILL");
    kills++;
    server = await spawnServer({ ...env, PORT: server.port });
  }
  await Promise.all(producers);
  await acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });

  const seen = await reading;
  const pool = new pg.Pool({ connectionString: database.url });
  const { rows } = await pool.query(
    `select "offset", producer_id || ' ' || sequence as name from event order by "offset"`,
  );
  expect(seen.map((event) => event.offset)).toEqual(rows.map((row) => Number(row.offset)));
  expect(seen.map((event) => event.name)).toEqual(rows.map((row) => row.name));
  const numbered = rows.map((row) => row.name as string).filter((name) => !name.endsWith(" 0"));
  expect(new Set(numbered).size).toBe(numbered.length);
  expect(numbered.length).toBe(3 * perProducer);
  expect([...durable].filter((name) => !numbered.includes(name))).toEqual([]);
  expect(await findOrphans(pool)).toEqual([]);
  await pool.end();
  await server.kill("SIGTERM");
  await database.drop();
});

/** One event after the other; what was not acknowledged is sent again, under the same number. */
async function publishAll(
  clients: Clients,
  workflowId: string,
  producerId: string,
  durable: Set<string>,
): Promise<void> {
  for (let sequence = 1; sequence <= perProducer; ) {
    try {
      const { level } = await clients.tasks.streamTaskData({
        workflowExecutionId: workflowId,
        taskExecutionId: `task of ${producerId}`,
        producerId,
        sequence: BigInt(sequence),
        type: EventType.TOKEN,
        payload: "x",
        waitForDurable: true,
      });
      expect(level).toBe(AckLevel.DURABLE);
      durable.add(`${producerId} ${sequence}`);
      sequence++;
    } catch (error) {
      await laterIfGone(error);
    }
  }
}

async function readAll(clients: Clients, workflowId: string): Promise<{ offset: number; name: string }[]> {
  const seen: { offset: number; name: string }[] = [];
  for (;;) {
    try {
      const start = { case: "afterOffset", value: BigInt(seen.at(-1)?.offset ?? 0) } as const;
      for await (const { message } of clients.streams.streamWorkflow({ workflowId, options: { start } })) {
        const inner = message?.message;
        if (inner?.case === "ended") return seen;
        if (inner?.case !== "events") continue;
        for (const event of inner.value.events) {
          seen.push({ offset: Number(event.offset), name: `${event.producerId} ${event.sequence}` });
        }
      }
    } catch (error) {
      await laterIfGone(error);
    }
  }
}

/** Anything but a server that is gone is a failure of the test. */
async function laterIfGone(error: unknown): Promise<void> {
  const { code } = ConnectError.from(error);
  if (code !== Code.Unavailable && code !== Code.Aborted && code !== Code.Internal && code !== Code.Canceled)
    throw error;
  await new Promise((resolve) => setTimeout(resolve, 20));
}
