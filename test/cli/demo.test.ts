/** The demo, from nothing and on a server that is there. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { devKeyFile } from "../../server/config.ts";
import { rotate } from "../support/rotating.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { run, start } from "./command-line.ts";

const some = rotate(3);

const server = useServer();
const complete = /\ncomplete: (\d+) events, offsets 1–\1, no gap\n$/;
const nobody = "http://127.0.0.1:1";
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tributary-demo-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

some.add("from nothing: starts its own server, shows everything, and says it was complete", async () => {
  const env = { TRIBUTARY_URL: nobody, PORT: "0", DATA_DIR: join(folder, "data") };
  const text = await run(["demo", "--fast"], { env });
  expect(text.code).toBe(0);
  expect(text.stdout).toMatch(complete);
  expect(text.stdout).toMatch(/\n {2}http:\/\/127\.0\.0\.1:\d+\/#\/workflows\/[0-9a-f-]{36}\n/);
  expect(text.stdout).toMatch(/\n {2}curl -N .*\/consolidated\n/);
  expect(text.stdout).toMatch(/tributary -- tail [0-9a-f-]{36}\n/);
  for (const name of ["river guide", "research", "writing", "translation"]) {
    expect(text.stdout).toMatch(new RegExp(` ${name} +created\n`));
    expect(text.stdout).toMatch(new RegExp(` ${name} +completed\n`));
  }
  expect((await readFile(join(folder, "data", devKeyFile), "utf8")).trim()).toMatch(/^trib_/);

  const json = await run(["demo", "--fast", "--json"], { env });
  expect(json.code).toBe(0);
  expect(json.objects[0]).toMatchObject({ kind: "demo", watch: { curl: expect.stringContaining("curl") } });
  const events = json.objects.filter(({ kind }) => kind === "event");
  expect(events.map(({ offset }) => offset)).toEqual(events.map((_, at) => at + 1));
  expect(json.objects.at(-1)).toEqual({
    ...{ kind: "complete", complete: true, events: events.length, firstOffset: 1, lastOffset: events.length },
    ...{ missing: 0, duplicates: 0, trimmed: 0, ended: true },
  });
});

some.add("from nothing, Ctrl-C stops its server too", async () => {
  const env = { TRIBUTARY_URL: nobody, PORT: "0", DATA_DIR: join(folder, "data"), LOG_LEVEL: "info" };
  await using demo = start(["demo"], { env });
  await demo.prints(/› /);
  demo.child.kill("SIGINT");
  const { code, stdout } = await demo.ended();
  expect(code).toBe(130);
  expect(stdout).not.toContain("complete:");
  const again = await run(["demo", "--fast"], { env });
  expect(again.stdout).toMatch(complete);
  expect(again.stderr).not.toContain("taken over");
});

some.add("on a server that is there it needs no other, and its lines for watching work", async () => {
  const env = { TRIBUTARY_URL: server.url, TRIBUTARY_API_KEY: server.acme.key };
  await using demo = start(["demo", "--fast"], { env });
  const [, key = "", url = ""] = await demo.prints(/curl -N -H 'Authorization: Bearer (\S+)' (\S+)\n/);
  const response = await fetch(url, { headers: { authorization: `Bearer ${key}` } });
  expect(response.status).toBe(200);
  expect(await response.text()).toMatch(/event: workflow_completed\n[\s\S]*event: end\n/);
  const { code, stdout, stderr } = await demo.ended();
  expect(code).toBe(0);
  expect(stdout).toMatch(complete);
  expect(stderr).toBe("");
});

some.add("a demo that is interrupted leaves no open workflow behind", async () => {
  const env = { TRIBUTARY_URL: server.url, TRIBUTARY_API_KEY: server.acme.key };
  await using demo = start(["demo"], { env });
  const [, id = ""] = await demo.prints(/tail (\S+)\n/);
  await demo.prints(/› /);
  demo.child.kill("SIGINT");
  expect((await demo.ended()).code).toBe(130);
  const { workflow } = await server.acme.workflows.getWorkflow({ workflowId: id });
  expect(workflow).toMatchObject({ status: 4, openInSubtree: 0 });
  await until(() => expect(server.server.gauges().openCalls).toBe(0));
});

some.add("a port that something else holds is no reason to give up", async () => {
  const other = createServer((_, response) => response.end("something else"));
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as { port: number };
  const env = { PORT: String(port), DATA_DIR: join(folder, "data") };
  const { code, stdout } = await run(["demo", "--fast"], { env });
  other.close();
  expect(stdout).toMatch(complete);
  expect(code).toBe(0);
});

some.take();
