/** `tributary workflow watch`: the newest workflows, then a line for each that changes, until Ctrl-C. */
import type { Command } from "commander";
import { type Workflow, WorkflowSchema } from "../../../gen/tributary/v1/workflow_service_pb.ts";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { keepCalling } from "../../keep-calling.ts";
import { toWholeNumber } from "../../options.ts";
import type { Output } from "../../output/output.ts";
import { toPlain } from "../../output/plain.ts";
import { statusSign, statusWord } from "../../output/status.ts";
import { cleanLine } from "../../output/width.ts";

interface Options {
  readonly roots?: true;
  readonly limit: number;
}

export function addWorkflowWatch(parent: Command, cli: Cli): void {
  const command = parent
    .command("watch")
    .description("show the newest workflows, then each one that is created, changed or deleted")
    .option("--roots", "only roots")
    .option("--limit <n>", "so many to begin with", toWholeNumber(1, 1000), 100)
    .action(async (options: Options) => watch(cli, options));
  withExamples(
    command,
    ["tributary workflow watch --roots", "what runs, live"],
    [
      "tributary workflow watch --json | jq -r 'select(.status == \"FAILED\").workflowId'",
      "failures, for a script",
    ],
  );
}

async function watch(cli: Cli, { roots, limit }: Options): Promise<void> {
  const { workflows } = await cli.client();
  const { output } = cli;
  const signal = cli.interrupts.take();
  const request = { rootsOnly: roots === true, snapshotSize: limit };
  const open = (own: AbortSignal) => workflows.watchWorkflows(request, { signal: own });
  let live = false;
  for await (const { message } of keepCalling(output, open, signal)) {
    if (message.case === "snapshotComplete" && !live) {
      live = true;
      if (!output.json) output.note("watching; stop with Ctrl-C");
    }
    if (message.case !== "workflows") continue;
    // The newest one is first, and is shown last.
    const { workflows: changed, deletedWorkflowIds } = message.value;
    for (const workflow of live ? changed : changed.toReversed()) show(output, workflow);
    for (const workflowId of deletedWorkflowIds) {
      if (output.json) output.object({ workflowId, deleted: true });
      else output.print(output.paint.dim(`○ ${workflowId}  deleted`));
    }
  }
  if (cli.interrupts.exitCode !== undefined) cli.exitCode = cli.interrupts.exitCode;
}

function show(output: Output, workflow: Workflow): void {
  if (output.json) {
    output.object(toPlain(WorkflowSchema, workflow));
    return;
  }
  const { paint } = output;
  const { workflowId, status, openInSubtree, cancelRequestedMs, name } = workflow;
  const asked = cancelRequestedMs > 0n && openInSubtree > 0 ? paint.yellow(" cancel requested") : "";
  const open = paint.dim(`${openInSubtree} open`);
  output.print(
    `${statusSign(status, paint)} ${workflowId}  ${statusWord(status, paint)}${asked}  ${open}  ${cleanLine(name)}`,
  );
}
