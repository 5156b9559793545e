/** `tributary workflow tree`: a workflow and all its descendants, drawn. */
import type { Command } from "commander";
import { type Workflow, WorkflowSchema } from "../../../gen/tributary/v1/workflow_service_pb.ts";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { toUuid, toWholeNumber } from "../../options.ts";
import { toPlain } from "../../output/plain.ts";
import { statusSign, statusWord } from "../../output/status.ts";
import { toTable } from "../../output/table.ts";
import { toSpan } from "../../output/time.ts";
import { drawTree } from "../../output/tree.ts";
import { cleanLine } from "../../output/width.ts";
import { readAll } from "../../paging.ts";

export function addWorkflowTree(parent: Command, cli: Cli): void {
  const command = parent
    .command("tree")
    .description("draw a workflow with all its descendants")
    .argument("<workflow-id>", "the top", toUuid)
    .option("--limit <n>", "at most so many workflows", toWholeNumber(1, 1_000_000), 1000)
    .action(async (workflowId: string, { limit }: { limit: number }) => tree(cli, workflowId, limit));
  withExamples(
    command,
    ["tributary workflow tree <workflow-id>", "who is whose child, and how they are"],
    ["tributary workflow tree <workflow-id> --json", "one workflow a line, parents first"],
  );
}

async function tree(cli: Cli, workflowId: string, limit: number): Promise<void> {
  const { workflows } = await cli.client();
  const { output } = cli;
  const { rows, more } = await readAll<Workflow>(limit, async (page) => {
    const answer = await workflows.getWorkflowTree({ ...page, workflowId });
    return { rows: answer.workflows, nextPageToken: answer.nextPageToken };
  });
  if (output.json) for (const workflow of rows) output.object(toPlain(WorkflowSchema, workflow));
  else output.print(draw(rows, output.paint));
  if (more) output.note(`There are more than ${limit}; see them with --limit.`);
}

function draw(workflows: readonly Workflow[], paint: Cli["output"]["paint"]): string {
  const nodes = workflows.map((workflow) => ({
    id: workflow.workflowId,
    parentId: workflow.parentWorkflowId,
    workflow,
  }));
  return toTable(
    drawTree(nodes),
    [
      {
        title: "NAME",
        cell: ({ branch, node: { workflow } }) =>
          `${paint.dim(branch)}${statusSign(workflow.status, paint)} ${cleanLine(workflow.name)}`,
      },
      { title: "STATUS", cell: ({ node: { workflow } }) => statusWord(workflow.status, paint) },
      { title: "TOOK", right: true, cell: ({ node: { workflow } }) => took(workflow) },
      { title: "WORKFLOW", cell: ({ node: { workflow } }) => paint.dim(workflow.workflowId) },
    ],
    paint,
  );
}

const took = ({ createdMs, closedMs }: Workflow): string =>
  closedMs === 0n ? "" : toSpan(Number(closedMs - createdMs));
