/** `tributary workflow list`: newest first. */
import type { Command } from "commander";
import { WorkflowStatus } from "../../../gen/tributary/v1/event_pb.ts";
import { type Workflow, WorkflowSchema } from "../../../gen/tributary/v1/workflow_service_pb.ts";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { toOneOf, toUuid, toWholeNumber } from "../../options.ts";
import { toPlain } from "../../output/plain.ts";
import { statusSign, statusWord } from "../../output/status.ts";
import { toTable } from "../../output/table.ts";
import { toMoment } from "../../output/time.ts";
import { cleanLine, shorten } from "../../output/width.ts";
import { readAll } from "../../paging.ts";

interface Options {
  readonly status?: WorkflowStatus;
  readonly parent?: string;
  readonly roots?: true;
  readonly name?: string;
  readonly limit: number;
}

const statusNames = ["RUNNING", "COMPLETED", "FAILED", "CANCELLED"];
const longestName = 40;

export function addWorkflowList(parent: Command, cli: Cli): void {
  const command = parent
    .command("list")
    .description("list workflows, newest first")
    .option("--status <status>", statusNames.join(", "), toOneOf<WorkflowStatus>(statusNames, WorkflowStatus))
    .option("--parent <uuid>", "only children of this workflow", toUuid)
    .option("--roots", "only roots")
    .option("--name <text>", "only those whose name contains this")
    .option("--limit <n>", "at most so many", toWholeNumber(1, 1_000_000), 100)
    .action(async (options: Options) => list(cli, options));
  withExamples(
    command,
    ["tributary workflow list --roots --status RUNNING", "trees whose root runs"],
    ["tributary workflow list --json --limit 5000 | jq -r .workflowId", "ids, for a script"],
  );
}

async function list(cli: Cli, { status, parent, roots, name, limit }: Options): Promise<void> {
  const { workflows } = await cli.client();
  const { output } = cli;
  const { rows, more } = await readAll<Workflow>(limit, async (page) => {
    const answer = await workflows.listWorkflows({
      ...page,
      status: status ?? WorkflowStatus.UNSPECIFIED,
      parentWorkflowId: parent ?? "",
      rootsOnly: roots === true,
      nameContains: name ?? "",
    });
    return { rows: answer.workflows, nextPageToken: answer.nextPageToken };
  });
  if (output.json) {
    for (const workflow of rows) output.object(toPlain(WorkflowSchema, workflow));
  } else if (rows.length === 0) {
    output.note("No workflows. Make one with tributary workflow create <name>.");
  } else output.print(table(rows, output.paint));
  if (more) output.note(`There are more than ${limit}; see them with --limit.`);
}

function table(rows: readonly Workflow[], paint: Cli["output"]["paint"]): string {
  return toTable(
    rows,
    [
      { title: "WORKFLOW", cell: ({ workflowId }) => workflowId },
      { title: "STATUS", cell: ({ status }) => `${statusSign(status, paint)} ${statusWord(status, paint)}` },
      { title: "CREATED", cell: ({ createdMs }) => paint.dim(toMoment(createdMs)) },
      { title: "OPEN", right: true, cell: ({ openInSubtree }) => String(openInSubtree) },
      { title: "DEPTH", right: true, cell: ({ depth }) => String(depth) },
      { title: "NAME", cell: ({ name }) => shorten(cleanLine(name), longestName) },
    ],
    paint,
  );
}
