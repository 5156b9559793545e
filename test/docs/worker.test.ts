/** examples/worker.ts through kills of the worker and restarts of the server. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject } from "vitest";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import { newWorkflow, readAll } from "../api/trees.ts";
import { createTestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { rotate } from "../support/rotating.ts";
import { adminKey, type Clients, createClients, createTenant, useServer } from "../support/server.ts";
import { spawnServer } from "../support/spawned-server.ts";
import { until } from "../support/until.ts";

const some = rotate(2);

const server = useServer();
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tributary-worker-"));
});
afterAll(() => rm(folder, { recursive: true }));

interface Worker {
  readonly workflowId: string;
  readonly state: string;
  start(): ChildProcess & { readonly said: string[] };
}

async function aWorker(name: string, lines: readonly string[], clients = server.acme): Promise<Worker> {
  const [source, state] = [join(folder, `${name}.txt`), join(folder, `${name}.json`)];
  await writeFile(source, lines.join("\n"));
  const workflowId = await newWorkflow(clients);
  return {
    workflowId,
    state,
    start() {
      const child = spawn(process.execPath, ["examples/worker.ts", workflowId, source, state], {
        env: { ...process.env, TRIBUTARY_URL: clients.url, TRIBUTARY_API_KEY: clients.key },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const said: string[] = [];
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (text: string) => said.push(text));
      }
      return Object.assign(child, { said });
    },
  };
}

const tailOf = async (workflowId: string, clients: Clients) => {
  const { events } = await clients.streams.readEvents({ workflowId, descending: true, limit: 1 });
  return Number(events[0]?.offset ?? 0);
};
/** The worker has stored so much. */
const reaches = (workflowId: string, offset: number, clients = server.acme) =>
  until(async () => expect(await tailOf(workflowId, clients)).toBeGreaterThan(offset), 30_000);

async function ends(worker: ChildProcess & { readonly said: string[] }): Promise<string> {
  const [code] = worker.exitCode === null ? await once(worker, "close") : [worker.exitCode];
  const said = worker.said.join("");
  expect(code, said).toBe(0);
  return said;
}

const kill = async (worker: ChildProcess) => {
  expect(worker.exitCode).toBeNull(); // else it was done before
  const gone = once(worker, "close");
  worker.kill("SIGKILL");
  await gone;
};

some.add(
  "through kills of the worker and restarts of the server each line is stored once, in order",
  { timeout: 120_000 },
  async () => {
    const lines = Array.from({ length: 150_000 }, (_, i) => `line ${i}`);
    lines[50_000] = "x".repeat(1024 * 1024 + 1);
    const { workflowId, start } = await aWorker("through", lines);

    let worker = start();
    for (const offset of [1, 3000]) {
      await reaches(workflowId, offset);
      await kill(worker);
      worker = start();
    }
    await reaches(workflowId, 6000);
    await server.restart();
    await reaches(workflowId, 9000);
    // Both at once: the session waits at the next server for the next worker.
    await Promise.all([server.restart(), kill(worker)]);
    worker = start();
    const said = await ends(worker);
    expect(said).toContain("line 50001 was refused: payload: 1048577 bytes");

    const events = await readAll(server.acme, workflowId);
    const [created, ...told] = events;
    expect(created?.type).toBe(EventType.WORKFLOW_CREATED);
    expect(told.slice(0, -1).map(({ payload }) => payload.value)).toEqual(lines.toSpliced(50_000, 1));
    expect(told.at(-1)).toMatchObject({ type: EventType.COMPLETED, sequence: 150_001n });
    // One session through all of it.
    expect(new Set(told.map(({ producerId }) => producerId)).size).toBe(1);
    const { sessions } = await server.acme.admin.listSessions({ sessionId: told[0]?.producerId ?? "" });
    expect(sessions).toMatchObject([{ lastSequence: 150_001n }]);
    expect(Number(sessions[0]?.epoch)).toBeGreaterThanOrEqual(5);
    expect(await ends(start())).toBe(""); // nothing is left to say
  },
);

some.add("a server that is killed in the middle costs nothing either", { timeout: 60_000 }, async () => {
  const database = await createTestDatabase(inject("clusterUrl"), { template });
  const env = { DATABASE_URL: database.url, TRIBUTARY_ADMIN_KEY: adminKey };
  let spawned = await spawnServer(env);
  try {
    const clients = await createTenant(createClients(spawned.url, adminKey), "acme");
    const lines = Array.from({ length: 60_000 }, (_, i) => `line ${i}`);
    const { workflowId, start } = await aWorker("killed", lines, clients);
    const worker = start();
    await reaches(workflowId, 1000, clients);
    expect(worker.exitCode).toBeNull();
    await spawned.kill("SIGKILL");
    spawned = await spawnServer({ ...env, PORT: spawned.port });
    expect((await ends(worker)).match(/goes on after/g)?.length).toBeGreaterThan(1);
    const told = (await readAll(clients, workflowId)).slice(1);
    expect(told.slice(0, -1).map(({ payload }) => payload.value)).toEqual(lines);
  } finally {
    await spawned.kill("SIGTERM");
    await database.drop();
  }
});

some.add("away for longer than the lease it goes on in a new session", { timeout: 60_000 }, async () => {
  const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i}`);
  const { workflowId, state, start } = await aWorker("lease", lines);
  const worker = start();
  await reaches(workflowId, 1);
  await kill(worker);
  const { sessionId } = JSON.parse(await readFile(state, "utf8"));
  await server.pool.query("update session set lease_expires_ms = 1 where session_id = $1", [sessionId]);
  await ends(start());
  const told = (await readAll(server.acme, workflowId)).slice(1);
  expect(told.slice(0, -1).map(({ payload }) => payload.value)).toEqual(lines);
  expect(new Set(told.map(({ producerId }) => producerId)).size).toBe(2);
});

some.add(
  "asked to stop it ends its task; taken over or closed by an administrator it does not come back",
  { timeout: 60_000 },
  async () => {
    const lines = Array.from({ length: 60_000 }, (_, i) => `line ${i}`);
    const { workflowId, start } = await aWorker("stop", lines);
    const worker = start();
    await reaches(workflowId, 1);
    await server.acme.workflows.requestCancel({ workflowId, reason: "enough" });
    expect(await ends(worker)).toContain("asked to stop: enough");
    const told = await readAll(server.acme, workflowId);
    expect(told.at(-1)?.type).toBe(EventType.CANCELLED);
    expect(told.length).toBeLessThan(lines.length);

    const other = await aWorker("closed", lines);
    const closed = other.start();
    await reaches(other.workflowId, 1);
    const { sessionId } = JSON.parse(await readFile(other.state, "utf8"));
    await server.acme.admin.closeSession({ sessionId });
    if (closed.exitCode === null) await once(closed, "close");
    expect(closed.exitCode).not.toBe(0);
    expect(closed.said.join("")).toContain("the session ended: ADMIN");
  },
);

some.take();
