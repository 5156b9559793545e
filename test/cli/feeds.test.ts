/** `workflow watch` and `events`, as real processes. */
import { afterEach, expect, test } from "vitest";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { begin } from "../api/session-world.ts";
import { createWorkflow } from "../api/trees.ts";
import { adminKey, useServer } from "../support/server.ts";
import { type Running, run, start } from "./command-line.ts";

const server = useServer();
const running: Running[] = [];
const begun = (key: string, ...args: string[]) => {
  const process = start(args, { env: { TRIBUTARY_URL: server.url, TRIBUTARY_API_KEY: key } });
  running.push(process);
  return process;
};
afterEach(async () => {
  for (const process of running.splice(0)) await process[Symbol.asyncDispose]();
});

test("workflow watch shows what there is, what changes, what is deleted, and ends with Ctrl-C", async () => {
  const { workflowId: old } = await createWorkflow(server.acme, { name: "old" });
  const process = begun(server.acme.key, "workflow", "watch");
  await process.prints(/watching; stop with Ctrl-C/, "stderr");
  expect(process.stdout).toContain(`● ${old}  running  1 open  old\n`);
  const { workflowId } = await createWorkflow(server.acme, { name: "new" });
  await process.prints(new RegExp(`● ${workflowId}  running  1 open  new\n`));
  await server.acme.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.FAILED });
  await process.prints(new RegExp(`✖ ${workflowId}  failed  0 open  new\n`));
  await server.acme.workflows.deleteWorkflowTree({ workflowId });
  await process.prints(new RegExp(`○ ${workflowId}  deleted\n`));
  process.child.kill("SIGINT");
  expect((await process.ended()).code).toBe(130);
});

test("workflow watch --json begins anew after a restart of the server", async () => {
  const process = begun(server.acme.key, "workflow", "watch", "--json", "--roots", "--limit", "1");
  const { workflowId } = await createWorkflow(server.acme, { name: "before" });
  await process.prints(new RegExp(`"${workflowId}"`));
  await server.restart();
  await process.prints(/the server is stopping, trying again\nconnected\n/, "stderr");
  const after = await createWorkflow(server.acme, { name: "after", metadata: { a: "b" } });
  await process.prints(new RegExp(`"${after.workflowId}"`));
  process.child.kill("SIGINT");
  const { objects } = await process.ended();
  expect(objects.at(-1)).toMatchObject({ name: "after", metadata: { a: "b" }, status: "RUNNING", depth: 0 });
});

test("events shows what happens, for the admin of all and for a tenant of its own", async () => {
  const [all, own] = [
    begun(adminKey, "events", "--types", "SESSION_ATTACHED"),
    begun(server.acme.key, "events", "--json"),
  ];
  await all.prints(/listening; stop with Ctrl-C/, "stderr");
  const attach = async () => begin(server.acme);
  const first = await attach();
  await all.prints(new RegExp(`SESSION_ATTACHED +session ${first.sessionId} attached  acme\n`));
  const { sessionId } = first;
  // It may have begun to listen later.
  let seen = sessionId;
  while (!own.stdout.includes(seen)) {
    seen = (await attach()).sessionId;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  own.child.kill("SIGINT");
  const { objects, code } = await own.ended();
  expect(code).toBe(130);
  expect(objects[0]).toMatchObject({
    type: "SESSION_ATTACHED",
    component: "sessions",
    metadata: { tenant: "acme" },
  });
});

test("a type that does not exist is wrong usage, and a foreign tenant is refused", async () => {
  const env = { TRIBUTARY_URL: server.url, TRIBUTARY_API_KEY: server.acme.key };
  const wrong = await run(["events", "--types", "NONSENSE"], { env });
  expect(wrong.code).toBe(2);
  expect(wrong.stderr).toContain("ENTRY_DROPPED");
  const foreign = await run(["events", "--tenant", "globex"], { env });
  expect(foreign.code).toBe(1);
  expect(foreign.stderr).toContain("globex is not the tenant of the credential");
});
