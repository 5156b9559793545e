/** Watching from the command line. */
import { afterEach, expect, test } from "vitest";
import { EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { useServer } from "../support/server.ts";
import { until } from "../support/until.ts";
import { type Running, run, start } from "./command-line.ts";

const server = useServer();
const env = () => ({ TRIBUTARY_URL: server.url, TRIBUTARY_API_KEY: server.acme.key });
const running: Running[] = [];
const tail = (...args: string[]) => {
  const process = start(["tail", ...args], { env: env() });
  running.push(process);
  return process;
};
afterEach(async () => {
  for (const process of running.splice(0)) await process[Symbol.asyncDispose]();
});

async function createWorkflow(name: string, parentWorkflowId = ""): Promise<string> {
  const { workflow } = await server.acme.workflows.createWorkflow({ name, parentWorkflowId });
  return workflow?.workflowId ?? "";
}

const publish = (workflowId: string, task: string, payload: string, type: EventType = EventType.TOKEN) =>
  server.acme.tasks.streamTaskData({
    workflowExecutionId: workflowId,
    taskExecutionId: task,
    type,
    payload,
    waitForDurable: true,
  });

const complete = (workflowId: string) =>
  server.acme.workflows.closeWorkflow({
    workflowId,
    status: WorkflowStatus.COMPLETED,
    closeDescendants: true,
  });

test("shows tokens as running text, children that start later, and ends with the stream", async () => {
  const root = await createWorkflow("story");
  const process = tail(root);
  await process.prints(/story +created/);
  for (const word of ["Once ", "upon ", "a ", "time"]) await publish(root, "writer", word);
  await process.prints(/story\/writer +› Once upon a time/);
  const child = await createWorkflow("epilogue", root);
  await process.prints(/epilogue +created/);
  await publish(child, "t", '{"progress":0.5,"details":"half"}', EventType.PROGRESS);
  await complete(root);
  const { code, stdout, stderr } = await process.ended();
  expect(code).toBe(0);
  expect(stderr).toBe("");
  expect(stdout).toMatch(/epilogue\/t +progress +━+─+ {2}50 % {2}half\n/);
  expect(stdout).toMatch(/\nend of the stream at offset \d+: completed\n$/);
});

test("resumes through a restart of the server, and says so on stderr", async () => {
  const root = await createWorkflow("long");
  await publish(root, "t", "before");
  const process = tail(root, "--json");
  await process.prints(/"before"/);
  await server.restart();
  await until(() => publish(root, "t", "after"));
  await process.prints(/"after"/);
  await complete(root);
  const { code, stderr, objects } = await process.ended();
  expect(code).toBe(0);
  const offsets = objects.filter(({ kind }) => kind === "event").map(({ offset }) => offset);
  expect(offsets).toEqual([1, 2, 3, 4]);
  expect(stderr).toMatch(/resuming after offset 2\nresumed after offset 2\n/);
});

test("shows one workflow, one task, some types, or what follows an offset", async () => {
  const root = await createWorkflow("filters");
  const child = await createWorkflow("below", root);
  await publish(child, "c", "c");
  await publish(root, "a", "a");
  await publish(root, "b", "b");
  await publish(root, "a", '{"progress":1}', EventType.PROGRESS);
  await complete(root);
  const offsets = async (...args: string[]) => {
    const { objects } = await run(["tail", root, "--json", ...args], { env: env() });
    expect(objects[0]).toMatchObject({ kind: "opened" });
    expect(objects.at(-1)).toMatchObject({ kind: "ended" });
    return objects.filter(({ kind }) => kind === "event").map(({ offset }) => offset);
  };
  expect(await offsets()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(await offsets("--only")).toEqual([1, 4, 5, 6, 8]);
  expect(await offsets("--task", "a")).toEqual([4, 6]);
  expect(await offsets("--types", "token,PROGRESS")).toEqual([3, 4, 5, 6]);
  expect(await offsets("--after", "6")).toEqual([7, 8]);
  expect(await offsets("--latest")).toEqual([]);
});

test("Ctrl-C ends it with 130 and tells how to go on", async () => {
  const root = await createWorkflow("endless");
  const process = tail(root);
  await process.prints(/created/);
  process.child.kill("SIGINT");
  const { code, stderr } = await process.ended();
  expect(code).toBe(130);
  expect(stderr).toBe("stopped; go on with --after 1\n");
  await until(() => expect(server.server.gauges().openCalls).toBe(0));
});

test("a reader of its output that goes away ends it", async () => {
  const root = await createWorkflow("unread");
  const process = tail(root);
  await process.prints(/created/);
  process.child.stdout.destroy();
  await publish(root, "t", "nobody reads this\n");
  await publish(root, "u", "nor this\n");
  expect((await process.ended()).code).toBe(0);
});
