/** What a user of the package writes, in a project of its own: a worker and a reader in Node. */
import {
  createTributaryClient,
  type EntryRejectedError,
  type FollowItem,
  WorkflowStatus,
} from "tributary/client";

const [baseUrl = "", credential = ""] = process.argv.slice(2);
const client = createTributaryClient({ baseUrl, credential });
const { workflow } = await client.workflows.createWorkflow({ name: "of the package" });
const workflowId = workflow?.workflowId ?? "";

const session = client.openSession({
  workflowId,
  onRejected: (error: EntryRejectedError) => console.error(error),
});
const task = session.task("t");
for (const text of ["Hello", "world"]) await task.token(text);
await task.completed();
await session.close();
await client.workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });

const kinds: FollowItem["kind"][] = [];
for await (const item of client.followTree(workflowId)) kinds.push(item.kind);
const { values } = await client.followTask(workflowId, "t").collect();
console.log(kinds.join(" "), values.map(({ payload }) => payload.value ?? "").join(" "));
client.close();
