/** Readers that stop reading while 200 MB are published: the server's memory stays bounded, and they get everything. */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { expect, inject, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { createTestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { adminKey, createClients, createTenant } from "../support/server.ts";
import { type SpawnedServer, spawnServer } from "../support/spawned-server.ts";

const MiB = 1024 * 1024;
const payload = "x".repeat(100_000);
const total = 2000;
const first = 1000;
/** Windows, batches on their way and garbage; 200 MB held for a reader would not fit into it. */
const allowedGrowth = 120 * MiB;

test("two readers that stop for 200 MB cost bounded memory and miss nothing", {
  timeout: 180_000,
}, async () => {
  const database = await createTestDatabase(inject("clusterUrl"), { template });
  const server = await spawnServer({ DATABASE_URL: database.url, TRIBUTARY_ADMIN_KEY: adminKey });
  const acme = await createTenant(createClients(server.url, adminKey), "acme");
  const { workflow } = await acme.workflows.createWorkflow({ name: "large" });
  const workflowId = workflow?.workflowId ?? "";
  const publish = (count: number) =>
    acme.tasks.publishTaskEvents(
      (async function* () {
        for (let sent = 0; sent < count; sent += 10) {
          const event = {
            workflowId,
            taskExecutionId: "t",
            type: EventType.DATA,
            payload: { case: "text", value: payload },
          } as const;
          yield { events: Array.from({ length: 10 }, () => event) };
        }
      })(),
    );
  // What publishing alone costs is the base.
  const base = await peakRss(server, () => publish(first));

  // A reader of its own connection, so that the publisher does not share its flow control.
  const slowGrpc = createClients(server.url, acme.key)
    .streams.streamWorkflow({
      workflowId,
      options: { start: { case: "afterOffset", value: BigInt(first + 1) } },
    })
    [Symbol.asyncIterator]();
  await slowGrpc.next();
  const sse = get(`${server.url}/api/tenants/acme/stream/workflows/${workflowId}?after_offset=${first + 1}`, {
    headers: { authorization: `Bearer ${acme.key}` },
  });
  const [slowSse] = (await once(sse, "response")) as [IncomingMessage];
  slowSse.pause();

  const peak = await peakRss(server, () => publish(total));
  console.log(
    `RSS: ${Math.round(base / MiB)} MiB at most without readers, ${Math.round(peak / MiB)} MiB while 200 MB were published past two stopped readers`,
  );
  expect(peak).toBeGreaterThan(0);
  expect(peak - base).toBeLessThan(allowedGrowth);

  await acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
  const offsets: number[] = [];
  for (let next = await slowGrpc.next(); next.done !== true; next = await slowGrpc.next()) {
    const inner = next.value.message?.message;
    if (inner?.case === "events") offsets.push(...inner.value.events.map((event) => Number(event.offset)));
  }
  const expected = Array.from({ length: total + 1 }, (_, i) => first + 2 + i);
  expect(offsets).toEqual(expected);
  expect(await idsOf(slowSse)).toEqual([...expected, first + 2 + total]);
  await server.kill("SIGTERM");
  await database.drop();
});

/** The most memory that the server had while something ran. */
async function peakRss(server: SpawnedServer, run: () => Promise<unknown>): Promise<number> {
  let peak = 0;
  const watch = setInterval(() => void server.rss().then((rss) => (peak = Math.max(peak, rss))), 50);
  await run();
  clearInterval(watch);
  return peak;
}

/** The ids of the events of an SSE stream, to its end; the last is that of `end`. */
async function idsOf(response: IncomingMessage): Promise<number[]> {
  const ids: number[] = [];
  let rest = "";
  for await (const chunk of response) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("id: ")) ids.push(Number(line.slice(4)));
  }
  return ids;
}
