/** A database that goes away and comes back while readers and writers are attached. */
import { Code, ConnectError } from "@connectrpc/connect";
import pg from "pg";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { findOrphans } from "../../db/statements/find-orphans.ts";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { readConfig } from "../../server/config.ts";
import { type RunningServer, startServer } from "../../server/main.ts";
import { createTestDatabase, type TestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { adminKey, type Clients, createClients, createTenant } from "../support/server.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { until } from "../support/until.ts";

let database: TestDatabase;
let proxy: TcpProxy;
let server: RunningServer;
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
});

afterAll(async () => {
  await until(() => expect(server.gauges()).toEqual({ openCalls: 0, liveStreams: 0, waitingCommands: 0 }));
  await server.close();
  await proxy.close();
  const pool = new pg.Pool({ connectionString: database.url });
  expect(await findOrphans(pool)).toEqual([]);
  await pool.end();
  await database.drop();
});

test("readers and writers that are attached go on when it is back, and nothing is lost", async () => {
  const { workflow } = await acme.workflows.createWorkflow({ name: "patient" });
  const workflowId = workflow?.workflowId ?? "";
  const seen: string[] = [];
  let last = "";
  const reading = (async () => {
    for await (const { message } of acme.streams.streamWorkflow({ workflowId })) {
      const inner = message?.message;
      if (inner?.case === "events") seen.push(...inner.value.events.map((event) => String(event.sequence)));
      last = inner?.case ?? "";
    }
  })();
  const send = (sequence: number, waitForDurable: boolean) =>
    acme.tasks.streamTaskData({
      workflowExecutionId: workflowId,
      taskExecutionId: "t",
      producerId: "p",
      sequence: BigInt(sequence),
      type: EventType.TOKEN,
      waitForDurable,
    });
  await send(1, true);
  await until(() => expect(seen).toEqual(["0", "1"]));

  proxy.cut();
  await until(async () => expect((await fetch(`${server.url}/readyz`)).status).toBe(503));
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
  // The task is known to be open, so this is taken without the database; the next two wait for it.
  await send(2, false);
  const waiting = [send(3, true), send(4, true)];
  await expect(acme.workflows.getWorkflow({ workflowId })).rejects.toMatchObject({ code: Code.Unavailable });
  const sse = await fetch(`${server.url}/api/tenants/acme/stream/workflows/${workflowId}`, {
    headers: { authorization: `Bearer ${acme.key}` },
  });
  expect(sse.status).toBe(503);

  proxy.restore();
  await Promise.all(waiting);
  await until(async () => expect((await fetch(`${server.url}/readyz`)).status).toBe(200));
  await acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
  await reading;
  expect(seen).toEqual(["0", "1", "2", "3", "4", "0"]);
  expect(last).toBe("ended");
});

test("a caller that waits for the commit is told after a while that the database is away", {
  timeout: 60_000,
}, async () => {
  const { workflow } = await acme.workflows.createWorkflow({ name: "impatient" });
  proxy.cut();
  try {
    await acme.tasks.streamTaskData({
      workflowExecutionId: workflow?.workflowId ?? "",
      taskExecutionId: "t",
      type: EventType.TOKEN,
      waitForDurable: true,
    });
    expect.unreachable();
  } catch (error) {
    expect(ConnectError.from(error).code).toBe(Code.Unavailable);
    expect(ConnectError.from(error).rawMessage).toContain("database");
  } finally {
    proxy.restore();
  }
  await until(async () => expect((await fetch(`${server.url}/readyz`)).status).toBe(200));
});
