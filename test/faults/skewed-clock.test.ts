/** An instance whose clock is two hours fast, beside one whose clock is right: dates go by the database's clock. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { codeOf } from "../api/codes.ts";
import { begin, texts } from "../api/session-world.ts";
import { newWorkflow, readAll } from "../api/trees.ts";
import { byText, observe, Recalling } from "../support/memory-call.ts";
import { adminKey, type Clients, createClients, useServer } from "../support/server.ts";
import { type SpawnedServer, spawnServer } from "../support/spawned-server.ts";
import { until } from "../support/until.ts";

const server = useServer();
const skewMs = 2 * 3_600_000;
let fast: SpawnedServer;
let there: Clients;

beforeAll(async () => {
  const preload = fileURLToPath(new URL("../support/preload/skewed-clock.ts", import.meta.url));
  fast = await spawnServer({
    DATABASE_URL: server.database.url,
    TRIBUTARY_ADMIN_KEY: adminKey,
    CLOCK_SKEW_MS: String(skewMs),
    NODE_OPTIONS: `--import=${preload}`,
  });
  there = createClients(fast.url, server.acme.key);
});
afterAll(() => fast.kill("SIGKILL"));

test("stream tokens are good at both for as long as was asked, whichever made them", async () => {
  const workflowId = await newWorkflow(server.acme);
  const check = async (maker: Clients) => {
    const { token, expiresMs } = await maker.tokens.createStreamToken({
      workflowIds: [workflowId],
      ttlSeconds: 4,
    });
    expect(Math.abs(Number(expiresMs) - Date.now())).toBeLessThan(60_000);
    const guests = [server.acme.url, fast.url].map((url) => createClients(url, token));
    const reads = guests.map(
      ({ streams }) =>
        () =>
          codeOf(streams.readEvents({ workflowId })),
    );
    for (const read of reads) expect(await read()).toBe("OK");
    for (const read of reads) await until(async () => expect(await read()).toBe("Unauthenticated"));
  };
  await Promise.all([check(server.acme), check(there)]);
});

test("events without a time of their own get the true one, and readers and sessions go on as anywhere", async () => {
  const { workflowId, call } = await begin(there);
  call.batch(1, texts(3));
  await call.durable(3);
  await there.tasks.streamTaskData({
    workflowExecutionId: workflowId,
    taskExecutionId: "t",
    type: EventType.TOKEN,
    payload: "4",
    waitForDurable: true,
  });
  const events = await readAll(server.acme, workflowId);
  expect(events).toHaveLength(5);
  for (const { timestampMs, recordedMs } of events)
    expect(Math.abs(Number(timestampMs - recordedMs))).toBeLessThan(60_000);
  call.cut();
});

test("what is recalled has the same score at both, found before or while following", async () => {
  const space = "skewed";
  await server.acme.memory.createMemorySpace({ space });
  await observe(server.acme, space, ["a heron"]);
  const readers = [server.acme, there].map(
    (clients) => new Recalling(clients, { space, ...byText("heron"), follow: true }),
  );
  for (const reader of readers) await until(() => expect(reader.complete).toBeDefined());
  await observe(server.acme, space, ["another heron"]);
  await until(() => expect(readers.map(({ results }) => results.length)).toEqual([2, 2]));
  const [right, wrong] = readers.map(({ results }) => results.map(({ score }) => score));
  // Two hours make 8e-4.
  for (const [i, score] of (right ?? []).entries()) expect(wrong?.[i]).toBeCloseTo(score, 4);
  for (const reader of readers) reader.leave();
});
