/** Registers a root and two children, looks at the tree, and lists roots by name. Run: `node examples/create-tree.ts` */
import { randomUUID } from "node:crypto";
import { client } from "./connect.ts";

// region create
// With an id of your own the call may be repeated: the same content again gives the existing workflow.
const report = { workflowId: randomUUID(), name: "report", metadata: { model: "large" } };
await client.workflows.createWorkflow(report);
await client.workflows.createWorkflow(report);

// A child belongs to the tree of its parent from this moment on. Without an id the server makes one.
for (const name of ["research", "writing"]) {
  const { workflow } = await client.workflows.createWorkflow({ name, parentWorkflowId: report.workflowId });
  console.log("made", workflow?.name, "at depth", workflow?.depth);
}
// endregion

// region look
const { workflow } = await client.workflows.getWorkflow({ workflowId: report.workflowId });
console.log(workflow?.name, "has", workflow?.openInSubtree, "open workflows in its subtree");

// Pages: an empty token is the first one, and comes back with the last one.
let pageToken = "";
do {
  const page = await client.workflows.getWorkflowTree({
    workflowId: report.workflowId,
    pageSize: 2,
    pageToken,
  });
  for (const { name, depth } of page.workflows) console.log("  ".repeat(depth) + name);
  pageToken = page.nextPageToken;
} while (pageToken !== "");

const { workflows } = await client.workflows.listWorkflows({ rootsOnly: true, nameContains: "repo" });
console.log(
  "listed:",
  workflows.some(({ workflowId }) => workflowId === report.workflowId),
);
// endregion
