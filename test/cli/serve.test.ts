/** A server as a process: how it starts, how it says why it does not, and how it stops. */
import { createServer } from "node:net";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { createTributaryClient } from "../../client/index.ts";
import { createTestDatabase, type TestDatabase } from "../support/cluster.ts";
import { template } from "../support/global-setup.ts";
import { someOf } from "../support/random.ts";
import { run, start } from "./command-line.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase(inject("clusterUrl"), { template });
});
afterAll(() => database.drop());

const ready = /^Tributary is ready: (http:\S+)\n/;
const env = (more: Readonly<Record<string, string>> = {}) => ({
  DATABASE_URL: database.url,
  PORT: "0",
  LOG_LEVEL: "error",
  ...more,
});

test("prints one line with the address, the key once and a hint; SIGTERM drains and ends with 0", async () => {
  await using server = start(["serve"], { env: env() });
  const [, url = ""] = await server.prints(ready);
  const [, apiKey = ""] = await server.prints(/Key of the tenant dev: (\S+)\nTry it .+\n/);
  const client = createTributaryClient({ baseUrl: url, credential: apiKey });
  const { workflow } = await client.workflows.createWorkflow({ name: "open" });
  const kinds: string[] = [];
  for await (const item of client.followTree(workflow?.workflowId ?? "")) {
    kinds.push(item.kind);
    if (item.kind === "events") server.child.kill("SIGTERM");
    if (item.kind === "interrupted") break;
  }
  client.close();
  expect(kinds).toEqual(["opened", "events", "interrupted"]);
  const { code, stdout } = await server.ended();
  expect(code).toBe(0);
  expect(stdout.split("\n").filter((line) => line.includes("http://"))).toHaveLength(1);
  expect(stdout.split(apiKey)).toHaveLength(2);
});

test("with an admin key it prints the address alone; --json says it as an object", async () => {
  const admin = env({ TRIBUTARY_ADMIN_KEY: "the-admin-key" });
  await using plain = start(["serve"], { env: admin });
  await plain.prints(ready);
  plain.child.kill("SIGINT");
  expect(await plain.ended()).toMatchObject({ code: 0, stdout: expect.stringMatching(/^[^\n]+\n$/) });
  await using json = start(["serve", "--json"], { env: env() });
  await json.prints(/\n/);
  json.child.kill("SIGTERM");
  const { objects } = await json.ended();
  expect(objects).toEqual([
    { kind: "ready", url: expect.stringMatching(/^http:/), devKey: expect.stringMatching(/^trib_/) },
  ]);
});

test("a second signal ends it at once", async () => {
  await using server = start(["serve"], { env: env() });
  const [, url = ""] = await server.prints(ready);
  const [, apiKey = ""] = await server.prints(/dev: (\S+)\n/);
  const client = createTributaryClient({ baseUrl: url, credential: apiKey });
  await client.workflows.listWorkflows({}); // a connection makes the drain take its time
  server.child.kill("SIGTERM");
  await new Promise((resolve) => setTimeout(resolve, 300)); // two within 100 ms are one keystroke
  server.child.kill("SIGTERM");
  expect((await server.ended()).code).toBe(130);
  client.close();
});

test("a port that is taken is named, with how to choose another", async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as { port: number };
  const { code, stdout, stderr } = await run(["serve"], { env: env({ PORT: String(port) }) });
  other.close();
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(new RegExp(`^✖ Port ${port} on 127.0.0.1 is taken.*\n {2}.*PORT=${port + 1}.*\n$`));
});

const wrongs: readonly (readonly [Record<string, string>, RegExp])[] = [
  [{ PORT: "http" }, /PORT.*"http"/],
  [{ HOST: "0.0.0.0" }, /HOST.*TRIBUTARY_ADMIN_KEY/],
  [{ HOST: "192.0.2.1", TRIBUTARY_ADMIN_KEY: "key" }, /HOST.*not an address of this machine/],
  [{ DATABASE_URL: "postgres://nobody@127.0.0.1:1/none" }, /DATABASE_URL.*cannot connect/],
];

test.each(someOf(wrongs, 2))("does not start with %j, and says why", async (wrong, why) => {
  const { code, stdout, stderr } = await run(["serve"], { env: env(wrong) });
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(why);
  expect(stderr).not.toMatch(/\n\s+at /);
});

test("migrate brings an empty database up to date, and says what to set without one", async () => {
  const empty = await createTestDatabase(inject("clusterUrl"));
  const first = await run(["migrate"], { env: { DATABASE_URL: empty.url } });
  expect(first).toMatchObject({ code: 0, stdout: expect.stringMatching(/^Up to date: \S+\n$/) });
  expect(first.stdout).not.toContain(new URL(empty.url).password);
  const again = await run(["migrate", "--json"], { env: { DATABASE_URL: empty.url } });
  expect(again.objects).toMatchObject([{ kind: "migrated" }]);
  await empty.drop();
  const none = await run(["migrate"]);
  expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining("DATABASE_URL") });
});
