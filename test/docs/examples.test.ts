/** Every example, run as it stands against a server, and what it prints. */
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { adminKey, type Clients, useServer } from "../support/server.ts";
import { findChromium } from "../support/tools.ts";
import { until } from "../support/until.ts";

const chromiumTool = await findChromium();
const needsChromium = chromiumTool.missing === undefined ? "" : ` (skipped: ${chromiumTool.missing})`;
const server = useServer({ CORS_ORIGINS: "*" });

const env = (key: string): NodeJS.ProcessEnv => ({
  ...process.env,
  TRIBUTARY_URL: server.url,
  TRIBUTARY_API_KEY: key,
  TRIBUTARY_TENANT: "acme",
});

async function run(name: string, args: readonly string[] = [], key = server.acme.key): Promise<string[]> {
  const file = name.endsWith(".sh") ? "bash" : process.execPath;
  const { stdout } = await promisify(execFile)(file, [`examples/${name}`, ...args], {
    env: env(key),
    timeout: 30_000,
  });
  return stdout.trimEnd().split("\n");
}

/** A closed workflow with two tokens: its events have the offsets 1 to 4. */
async function aStory({ workflows, tasks }: Clients): Promise<string> {
  const { workflow } = await workflows.createWorkflow({ name: "story" });
  const workflowId = workflow?.workflowId ?? "";
  const event = { workflowExecutionId: workflowId, taskExecutionId: "t", waitForDurable: true };
  await tasks.streamTaskData({ ...event, type: EventType.TOKEN, payload: "Hello" });
  await tasks.streamTaskData({ ...event, type: EventType.TOKEN, payload: "world" });
  await workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
  return workflowId;
}

test("create-tree makes a tree, also when it repeats itself, and finds it again", async () => {
  expect(await run("create-tree.ts")).toEqual([
    "made research at depth 1",
    "made writing at depth 1",
    "report has 3 open workflows in its subtree",
    "report",
    "  research",
    "  writing",
    "listed: true",
  ]);
});

test("publish stores each event once, however often it is sent, and tells what was refused", async () => {
  expect(await run("publish.ts")).toEqual([
    "stored at offset 2n duplicate: false",
    "accepted 3n duplicates 0n last offset 5n",
    "accepted 0n duplicates 3n",
    "event 1n was refused, 1n before it stored",
    expect.stringContaining('"writer" has its terminal event already'),
  ]);
});

test("follow-scopes sees a task, a workflow and a tree, each to its own end", async () => {
  expect(await run("follow-scopes.ts")).toEqual([
    "task: TOKEN ended at 5",
    "workflow: WORKFLOW_CREATED TOKEN COMPLETED WORKFLOW_COMPLETED ended at 7",
    "tree: WORKFLOW_CREATED TOKEN DATA COMPLETED WORKFLOW_CANCELLED WORKFLOW_COMPLETED ended at 7",
  ]);
});

test("variables.sh sets, refuses, deletes and watches with buf curl", async () => {
  const output = (await run("variables.sh")).join("\n");
  expect(output).toContain('variable \\"temperature\\" must be at most 2 (constraints.max), found 3');
  const watched = output.slice(output.indexOf('"opened"'));
  expect(watched).toMatch(
    /"name": "model"[\s\S]+"value": "large"[\s\S]+"name": "temperature"[\s\S]+"value": 0.9/,
  );
  expect(watched).not.toContain('"plan"');
  expect(watched.indexOf('"ended"')).toBeGreaterThan(watched.indexOf('"snapshotComplete"'));
});

test("follow shows a tree from the beginning to the end", async () => {
  const lines = await run("follow.ts", [await aStory(server.acme)]);
  expect(lines.slice(1, 3)).toEqual(["2 t Hello", "3 t world"]);
  expect(lines.length).toBe(4);
});

test("resume goes on after the stored offset, and begins anew after a restore", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tributary-resume-"));
  const file = join(folder, "position.json");
  try {
    const { workflow } = await server.acme.workflows.createWorkflow({ name: "resumed" });
    const workflowId = workflow?.workflowId ?? "";
    const event = { workflowExecutionId: workflowId, taskExecutionId: "t", type: EventType.TOKEN };
    await server.acme.tasks.streamTaskData({ ...event, payload: "one", waitForDurable: true });

    const first = spawn(process.execPath, ["examples/resume.ts", workflowId, file], {
      env: env(server.acme.key),
      stdio: ["ignore", "pipe", "inherit"],
    });
    const seen: string[] = [];
    for await (const line of createInterface({ input: first.stdout })) {
      seen.push(line);
      if (line === "2 one") break;
    }
    const stored = async () => JSON.parse(await readFile(file, "utf8"));
    await until(async () => expect((await stored()).offset).toBe("2"));
    first.kill("SIGKILL");

    await server.acme.tasks.streamTaskData({ ...event, payload: "two", waitForDurable: true });
    await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    expect(await run("resume.ts", [workflowId, file])).toEqual(["3 two", "4 undefined", "ended at 4"]);
    expect(await run("resume.ts", [workflowId, file])).toEqual(["ended at 4"]);

    const { epoch } = await stored();
    const anew = [
      "the stream was restored from a backup: from the beginning",
      expect.stringMatching(/^1 /),
      "2 one",
      "3 two",
      "4 undefined",
      "ended at 4",
    ];
    await writeFile(file, JSON.stringify({ epoch: "1", offset: "4" }));
    expect(await run("resume.ts", [workflowId, file])).toEqual(anew);
    await writeFile(file, JSON.stringify({ epoch, offset: "99" }));
    expect(await run("resume.ts", [workflowId, file])).toEqual(anew);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("history reads all pages, and the newest text", async () => {
  expect(await run("history.ts", [await aStory(server.acme)])).toEqual([
    "1 WORKFLOW_CREATED",
    "2 TOKEN",
    "3 TOKEN",
    "4 WORKFLOW_COMPLETED",
    "newest text: world",
  ]);
});

test("cancel-close asks a worker to stop, closes the tree and deletes it", async () => {
  expect(await run("cancel-close.ts")).toEqual([
    "asked: true still open: true",
    "open after it: 0",
    "deleted events: true",
  ]);
});

test("tenants makes a tenant and its keys, revokes one and disables it", async () => {
  expect(await run("tenants.ts", ["example"], adminKey)).toEqual([
    "made Example Ltd",
    "(no name) MANAGE",
    "workers READ PUBLISH",
    "revoked: Unauthenticated",
    "disabled: true",
  ]);
});

test("curl.sh writes and reads with nothing but curl", async () => {
  const text = (await run("curl.sh")).join("\n");
  expect(text).toContain('"level":"ACK_LEVEL_DURABLE","offset":"2"');
  const [, task = "", workflow = "", tree = ""] = text.split("event: open\n");
  expect(task).toMatch(/id: 2\ndata: .*"payload":"Hello"/);
  expect(task).toMatch(/event: end\nid: 3\ndata: .*"taskOutcome":"COMPLETED"/);
  expect(workflow).not.toContain("id: 2\n");
  expect(workflow).toMatch(/id: 3\n.*event: closing\ndata: {"reason":"IDLE_TIMEOUT"/s);
  expect(tree.match(/^event: .*/gm)).toEqual(["event: token", "event: workflow_completed", "event: end"]);
  expect(tree).toContain('"code":"not_found"');
});

test.skipIf(chromiumTool.missing !== undefined)(
  `browser-page shows a tree live in a browser, from text to end${needsChromium}`,
  async () => {
    const { workflow } = await server.acme.workflows.createWorkflow({ name: "page" });
    const workflowId = workflow?.workflowId ?? "";
    const event = { workflowExecutionId: workflowId, taskExecutionId: "t", type: EventType.TOKEN };
    const web = spawn(process.execPath, ["examples/browser-page.ts", workflowId, "0"], {
      env: env(server.acme.key),
      stdio: ["ignore", "pipe", "inherit"],
    });
    const browser = await chromium.launch({
      executablePath: chromiumTool.path ?? "",
      args: ["--no-sandbox"],
    });
    try {
      let address = "";
      for await (const line of createInterface({ input: web.stdout })) {
        address = /http:\S+/.exec(line)?.[0] ?? "";
        break;
      }
      const page = await browser.newPage();
      await page.goto(address);
      await until(async () => expect(await page.textContent("#state")).toBe("live"));
      await server.acme.tasks.streamTaskData({ ...event, payload: "Hello, ", waitForDurable: true });
      await until(async () => expect(await page.textContent("#text")).toBe("Hello, "));

      await server.restart();
      await server.acme.tasks.streamTaskData({ ...event, payload: "world", waitForDurable: true });
      await until(async () => expect(await page.textContent("#text")).toBe("Hello, world"), 30_000);

      await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
      await until(async () => expect(await page.textContent("#state")).toBe("ended"));
      expect(await page.textContent("#text")).toContain("[workflow_completed]");
    } finally {
      await browser.close();
      web.kill();
    }
  },
);

test("no example is left out", async () => {
  const here = await readFile("test/docs/examples.test.ts", "utf8");
  for (const file of await readdir("examples")) {
    if (file === "connect.ts" || file === "browser-page.html") continue; // parts of the others
    if (file === "worker.ts") continue; // has a test of its own
    expect(here).toMatch(new RegExp(`run\\("${file}"|"examples/${file}"`));
  }
});
