/** Every example, run as it stands against a server, and what it prints. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { expect, test } from "vitest";
import { EventType, EventTypeSchema, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { newWorkflow } from "../api/trees.ts";
import { rotate } from "../support/rotating.ts";
import { adminKey, type Clients, useServer } from "../support/server.ts";
import { findChromium, findPythonWithGrpc } from "../support/tools.ts";
import { until } from "../support/until.ts";

const [chromiumTool, python] = await Promise.all([findChromium(), findPythonWithGrpc()]);
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

const some = rotate(6);

some.add("create-tree makes a tree, also when it repeats itself, and finds it again", async () => {
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

some.add("publish stores each event once, however often it is sent, and tells what was refused", async () => {
  expect(await run("publish.ts")).toEqual([
    "stored at offset 2n duplicate: false",
    "accepted 3n duplicates 0n last offset 5n",
    "accepted 0n duplicates 3n",
    "event 1n was refused, 1n before it stored",
    expect.stringContaining('"writer" has its terminal event already'),
  ]);
});

some.add("follow-scopes sees a task, a workflow and a tree, each to its own end", async () => {
  expect(await run("follow-scopes.ts")).toEqual([
    "task: TOKEN ended at 5",
    "workflow: WORKFLOW_CREATED TOKEN COMPLETED WORKFLOW_COMPLETED ended at 7",
    "tree: WORKFLOW_CREATED TOKEN DATA COMPLETED WORKFLOW_CANCELLED WORKFLOW_COMPLETED ended at 7",
  ]);
});

some.add("variables.sh sets, refuses, deletes and watches with buf curl", async () => {
  const output = (await run("variables.sh")).join("\n");
  expect(output).toContain('variable \\"temperature\\" must be at most 2 (constraints.max), found 3');
  const watched = output.slice(output.indexOf('"opened"'));
  expect(watched).toMatch(
    /"name": "model"[\s\S]+"value": "large"[\s\S]+"name": "temperature"[\s\S]+"value": 0.9/,
  );
  expect(watched).not.toContain('"plan"');
  expect(watched.indexOf('"ended"')).toBeGreaterThan(watched.indexOf('"snapshotComplete"'));
});

some.add("follow shows a tree from the beginning to the end", async () => {
  const lines = await run("follow.ts", [await aStory(server.acme)]);
  expect(lines.slice(1, 3)).toEqual(["2 t Hello", "3 t world"]);
  expect(lines.length).toBe(4);
});

some.add("resume goes on after the stored offset, and begins anew after a restore", async () => {
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

some.add(
  "read shows values, collects some and goes on, watches variables, recalls, and tells of failures",
  async () => {
    const workflowId = crypto.randomUUID();
    await server.acme.workflows.createWorkflow({ workflowId, name: "read" });
    const event = { workflowExecutionId: workflowId, taskExecutionId: "t", waitForDurable: true };
    await server.acme.tasks.streamTaskData({ ...event, type: EventType.TOKEN, payload: "Hello" });
    for (const value of [1, 2]) {
      const assignment = { name: "n", value: { kind: { case: "numberValue" as const, value } } };
      await server.acme.variables.setVariable({ workflowId, assignment });
    }
    const reading = run("read.ts", [workflowId]);
    await until(() => expect(server.server.gauges().openCalls).toBe(1));
    await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
    expect(await reading).toEqual([
      "2 Hello",
      "full 2 up to 2n",
      "then VARIABLE_SET",
      "then VARIABLE_SET",
      "then WORKFLOW_COMPLETED",
      "closed",
      "n is 2 was undefined",
      "true 1",
      expect.stringContaining("workflow_id"),
    ]);
  },
);

some.add("history reads all pages, and the newest text", async () => {
  expect(await run("history.ts", [await aStory(server.acme)])).toEqual([
    "1 WORKFLOW_CREATED",
    "2 TOKEN",
    "3 TOKEN",
    "4 WORKFLOW_COMPLETED",
    "newest text: world",
  ]);
});

some.add("cancel-close asks a worker to stop, closes the tree and deletes it", async () => {
  expect(await run("cancel-close.ts")).toEqual([
    "asked: true still open: true",
    "open after it: 0",
    "deleted events: true",
  ]);
});

some.add("traced writes an event with a trace context, and reads it with that", async () => {
  const workflowId = await newWorkflow(server.acme);
  expect(await run("traced.ts", [workflowId])).toEqual([
    "written in 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "not traced",
  ]);
});

some.add("tenants makes a tenant and its keys, revokes one and disables it", async () => {
  expect(await run("tenants.ts", ["example"], adminKey)).toEqual([
    "made Example Ltd",
    "(no name) MANAGE",
    "workers READ PUBLISH",
    "revoked: Unauthenticated",
    "disabled: true",
  ]);
});

some.add("curl.sh writes and reads with nothing but curl", async () => {
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

some.take();

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

test.skipIf(chromiumTool.missing !== undefined)(
  `ai-stream shows the answer of a model in a browser, word by word${needsChromium}`,
  async () => {
    const web = spawn(process.execPath, ["examples/ai-stream.ts", "0"], {
      env: env(server.acme.key),
      stdio: ["ignore", "pipe", "inherit"],
    });
    const browser = await chromium.launch({
      executablePath: chromiumTool.path ?? "",
      args: ["--no-sandbox"],
    });
    try {
      const lines = createInterface({ input: web.stdout })[Symbol.asyncIterator]();
      const { value: first } = await lines.next();
      const page = await browser.newPage();
      await page.goto(/http:\S+/.exec(first ?? "")?.[0] ?? "");
      await until(async () => expect(await page.textContent("#state")).toBe("done"), 20_000);
      const text = await page.textContent("#text");
      expect(text).toMatch(/^\[asks: .*"name":"weather","arguments":\{"place":"Rome"\}.*\]\n/);
      expect(text).toMatch(/\nThe sky over Rome is clear\.$/);
      expect((await lines.next()).value).toBe("answered");
      const { workflows } = await server.acme.workflows.listWorkflows({ nameContains: "a question" });
      const { events } = await server.acme.streams.readEvents({ workflowId: workflows[0]?.workflowId ?? "" });
      expect(events.map(({ type }) => EventTypeSchema.value[type]?.localName)).toEqual([
        "WORKFLOW_CREATED",
        "STARTED",
        "TOOL_CALL",
        "TOOL_RESULT",
        ...Array.from({ length: 7 }, () => "TOKEN"),
        "COMPLETED",
        "WORKFLOW_COMPLETED",
      ]);
    } finally {
      await browser.close();
      web.kill();
    }
  },
);

test.skipIf(python.missing !== undefined)(
  `watch.py iterates over variables and events, through a restart of the server${python.missing === undefined ? "" : ` (skipped: ${python.missing})`}`,
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "tributary-python-"));
    const children: ChildProcess[] = [];
    const api = join(folder, "tributary.binpb");
    const watch = (workflowId: string, what: string) => {
      const child = spawn(python.path ?? "", ["examples/watch.py", workflowId, what], {
        env: { ...env(server.acme.key), TRIBUTARY_API: api },
        stdio: ["ignore", "pipe", "inherit"],
      });
      children.push(child);
      const lines: string[] = [];
      createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
      return { lines, ended: once(child, "exit") };
    };
    try {
      await promisify(execFile)("npx", ["buf", "build", "-o", api]);
      const { workflow } = await server.acme.workflows.createWorkflow({ name: "from Python" });
      const workflowId = workflow?.workflowId ?? "";
      const set = (name: string, value: number) =>
        server.acme.variables.setVariable({
          workflowId,
          assignment: { name, value: { kind: { case: "numberValue", value } } },
        });
      await set("a", 1);
      const variables = watch(workflowId, "variables");
      const events = watch(workflowId, "events");
      await until(() => expect(variables.lines).toEqual(["a 1.0"]), 20_000);
      await until(() => expect(events.lines.length).toBe(2), 20_000);
      await server.restart();
      await set("b", 2);
      await server.acme.variables.deleteVariable({ workflowId, name: "a" });
      await until(() => expect(variables.lines).toEqual(["a 1.0", "b 2.0", "a None"]), 30_000);
      await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
      expect([(await variables.ended)[0], (await events.ended)[0]]).toEqual([0, 0]);
      expect(events.lines.map((line) => Number.parseInt(line, 10))).toEqual([1, 2, 3, 4, 5]);
    } finally {
      for (const child of children) child.kill();
      await rm(folder, { recursive: true });
    }
  },
);

test("no example is left out", async () => {
  const here = await readFile("test/docs/examples.test.ts", "utf8");
  for (const file of await readdir("examples")) {
    if (file === "connect.ts" || file === "browser-page.html") continue; // parts of the others
    if (file === "ai-page.ts" || file === "fake-model.ts") continue;
    if (file === "worker.ts") continue; // has a test of its own
    expect(here).toMatch(new RegExp(`run\\("${file}"|"examples/${file}"`));
  }
});
