/** docs/operations/keys.md: its commands, and the admin key replaced by restarts one by one. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { codeOf } from "../api/codes.ts";
import { newWorkflow } from "../api/trees.ts";
import { adminKey, type Clients, createClients, disconnectClients, useServer } from "../support/server.ts";
import { type SpawnedServer, spawnServer } from "../support/spawned-server.ts";
import { blocksIn } from "./pages.ts";

const server = useServer();

test("the commands of the page do what it says", async () => {
  const workflowIds = [await newWorkflow(server.acme)];
  const makeToken = async () => (await server.acme.tokens.createStreamToken({ workflowIds })).token;
  const read = (token: string) =>
    codeOf(server.clients(token).streams.readEvents({ workflowId: workflowIds[0] ?? "" }));
  const env = { ...process.env, TRIBUTARY_URL: server.url, TRIBUTARY_API_KEY: adminKey };
  const run = async (command = "") =>
    (await promisify(execFile)("bash", ["-euo", "pipefail", "-c", command], { env })).stdout;
  const [random, keys, rotate, retire, ...rest] = blocksIn("docs/operations/keys.md", "sh");
  expect(rest).toEqual([]);
  expect((await run(random)).trim().length).toBe(44);
  const listed = await run(keys);
  expect(listed).toMatch(/trib_\S{43}.*worker, 2027/s);
  const before = await makeToken();
  expect(await run(rotate)).toMatch(/^Key [0-9a-f]{16} signs stream tokens from now on\. .*stay valid/);
  expect([await read(before), await read(await makeToken())]).toEqual(["OK", "OK"]);
  expect(await run(retire)).toMatch(/^Key [0-9a-f]{16} signs .* are refused\.\n$/);
  expect([await read(before), await read(await makeToken())]).toEqual(["Unauthenticated", "OK"]);
}, 60_000);

test("with another admin key instances are restarted one by one: each takes its own, nothing else notices, and the old one is worth nothing at the end", async () => {
  const [old, young] = ["the-admin-key-of-before", "the-admin-key-from-now-on"];
  const start = (key: string) => spawnServer({ DATABASE_URL: server.database.url, TRIBUTARY_ADMIN_KEY: key });
  const instances = await Promise.all([start(old), start(old)]);
  const list = (at: number, key: string) => codeOf(clientsAt(instances, at, key).admin.listTenants({}));
  const answers = async () => [
    await list(0, old),
    await list(0, young),
    await list(1, old),
    await list(1, young),
  ];
  const replace = async (at: number) => {
    const before = instances[at];
    const next = await start(young);
    instances[at] = next;
    if (before === undefined) return;
    disconnectClients(before.url);
    await before.kill("SIGTERM");
  };
  try {
    const workflowId = await newWorkflow(server.acme);
    const { token } = await clientsAt(instances, 0, server.acme.key).tokens.createStreamToken({
      workflowIds: [workflowId],
    });
    const users = async () => {
      const codes: string[] = [];
      for (const at of [0, 1]) {
        for (const key of [server.acme.key, token])
          codes.push(await codeOf(clientsAt(instances, at, key).streams.readEvents({ workflowId })));
      }
      return codes;
    };
    const allWell = ["OK", "OK", "OK", "OK"];
    expect(await answers()).toEqual(["OK", "Unauthenticated", "OK", "Unauthenticated"]);
    await replace(0);
    expect(await answers()).toEqual(["Unauthenticated", "OK", "OK", "Unauthenticated"]);
    expect(await users()).toEqual(allWell);
    await replace(1);
    expect(await answers()).toEqual(["Unauthenticated", "OK", "Unauthenticated", "OK"]);
    expect(await users()).toEqual(allWell);
  } finally {
    for (const instance of instances) {
      disconnectClients(instance.url);
      await instance.kill("SIGTERM");
    }
  }
}, 60_000);

const clientsAt = (instances: readonly SpawnedServer[], at: number, key: string): Clients =>
  createClients(instances[at]?.url ?? "", key);

test("an admin key that is short is warned of at the start, without it", async () => {
  const env = { DATABASE_URL: server.database.url, LOG_LEVEL: "warn" };
  for (const [key, warned] of [
    ["short-secret", true],
    ["long-enough-to-be-one", false],
  ] as const) {
    const instance = await spawnServer({ ...env, TRIBUTARY_ADMIN_KEY: key });
    await instance.kill("SIGTERM");
    expect(instance.errors().includes("TRIBUTARY_ADMIN_KEY has 12 characters"), key).toBe(warned);
    expect(instance.errors()).not.toContain(key);
  }
}, 30_000);
