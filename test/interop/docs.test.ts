/** The commands of docs/clients.md, run as they stand but for address, tenant and key; those of browsers run in browser.test.ts. */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";
import { describeWith } from "../support/describe-with.ts";
import { useServer } from "../support/server.ts";
import { findCurl, findPythonWithGrpc } from "../support/tools.ts";
import { blocksOf } from "./blocks.ts";

const server = useServer();
const [curl, python] = await Promise.all([findCurl(), findPythonWithGrpc()]);
const page = await readFile("docs/clients.md", "utf8");
const folder = await mkdtemp(join(tmpdir(), "tributary-clients-"));
const blocks = blocksOf(page, "sh");
const [script = ""] = blocksOf(page, "python");
const blockWith = (text: string) => blocks.filter((block) => block.includes(text)).join("\n");

afterAll(() => rm(folder, { recursive: true }));

async function run(commands: string): Promise<string> {
  const keyFile = join(folder, "dev-key");
  await writeFile(keyFile, server.acme.key);
  const commandsHere = `${blocks[0]}\n${commands}`
    .replaceAll("http://127.0.0.1:8080", server.url)
    .replaceAll("/tenants/dev/", "/tenants/acme/")
    .replaceAll(".data/dev-key", keyFile)
    .replaceAll("tributary.binpb", join(folder, "tributary.binpb"));
  const { stdout } = await promisify(execFile)("bash", ["-euo", "pipefail", "-c", commandsHere]);
  return stdout;
}

test("the commands of buf curl work as they stand", async () => {
  const output = await run(blockWith("buf curl"));
  expect(output).toContain("tributary.v1.EventStreamService/StreamWorkflowConsolidated\n");
  expect(output).toContain('"level": "ACK_LEVEL_ACCEPTED"');
  expect(output).toMatch(/"accepted": "2",\s*"lastOffset": "4"/);
  expect(output).toMatch(/"offset": "2",\s*"type": "EVENT_TYPE_TOKEN",\s*"text": "Hello"/);
  expect(output).toMatch(/"ended": \{\s*"status": "WORKFLOW_STATUS_COMPLETED",\s*"finalOffset": "5"/);
});

test("the commands of grpcurl make the calls that those of buf curl make", () => {
  const callsIn = (program: string, address: string) =>
    [...blockWith(program).matchAll(new RegExp(`-d '(.*?)' \\\\\\n +${address}(tributary\\S+)`, "gs"))].map(
      ([, data, rpc]) => `${rpc} ${data}`,
    );
  const calls = callsIn("grpcurl", "127\\.0\\.0\\.1:8080 ");
  expect(calls).toEqual(callsIn("buf curl", "http://127\\.0\\.0\\.1:8080/"));
  expect(calls.length).toBe(5);
});

describeWith(curl, "curl", () => {
  test("does what the page says", async () => {
    const output = await run(blocks.filter((block) => /^curl /m.test(block)).join("\n"));
    expect(output).toContain('"name":"by hand"');
    expect(output).toContain('"level":"ACK_LEVEL_ACCEPTED"');
    expect(output).toMatch(/event: token\nid: 2\ndata: .*"payload":"Hello"/);
    expect(output).toMatch(/event: end\nid: 3\n/);
  });
});

describeWith(python, "Python", () => {
  test("publishes and follows with the page's script", async () => {
    await run("npx buf build -o tributary.binpb");
    expect(blockWith("pip install")).toContain("\nnpx buf build -o tributary.binpb\n");
    const text = script.replace("127.0.0.1:8080", new URL(server.url).host);
    const { stdout } = await promisify(execFile)(python.path ?? "", ["-c", text, randomUUID()], {
      cwd: folder,
      env: { ...process.env, TRIBUTARY_API_KEY: server.acme.key },
      timeout: 30_000,
    });
    expect(stdout.split("\n").slice(0, 4)).toEqual([
      "stored: 2",
      expect.stringMatching(/^1 /),
      "2 t Hello",
      "3 t world",
    ]);
  });
});

test("the code for browsers is the code that the browser runs", async () => {
  expect(blocksOf(page, "ts")).toEqual([await readFile("test/interop/browser/follow-tree.ts", "utf8")]);
});
