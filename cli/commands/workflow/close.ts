/** `tributary workflow close`: writes the terminal event. Closing again with the same status changes nothing. */
import type { Command } from "commander";
import { WorkflowStatus } from "../../../gen/tributary/v1/event_pb.ts";
import { CloseWorkflowResponseSchema } from "../../../gen/tributary/v1/workflow_service_pb.ts";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { toOneOf, toUuid } from "../../options.ts";
import { toPlain } from "../../output/plain.ts";
import { statusSign, statusWord } from "../../output/status.ts";
import { cleanLine } from "../../output/width.ts";

interface Options {
  readonly status: WorkflowStatus;
  readonly descendants?: true;
  readonly payload?: string;
}

const names = ["COMPLETED", "FAILED", "CANCELLED"];

export function addWorkflowClose(parent: Command, cli: Cli): void {
  const command = parent
    .command("close")
    .description("close a workflow: its stream ends, and with the last of its tree the consolidated one")
    .argument("<workflow-id>", "which", toUuid)
    .option(
      "--status <status>",
      names.join(", "),
      toOneOf<WorkflowStatus>(names, WorkflowStatus),
      WorkflowStatus.COMPLETED,
    )
    .option("--descendants", "also close its open descendants, as CANCELLED")
    .option("--payload <json>", "kept in the terminal event")
    .action(async (workflowId: string, { status, descendants, payload }: Options) => {
      const { workflows } = await cli.client();
      const answer = await workflows.closeWorkflow({
        workflowId,
        status,
        payload: payload ?? "",
        closeDescendants: descendants === true,
      });
      const { paint } = cli.output;
      cli.output.result(toPlain(CloseWorkflowResponseSchema, answer), () => {
        const { name = "", openInSubtree = 0 } = answer.workflow ?? {};
        const open = openInSubtree > 0 ? ` (${openInSubtree} below it still open)` : "";
        return `${statusSign(status, paint)} ${cleanLine(name)} ${statusWord(status, paint)} at offset ${answer.offset}${open}`;
      });
    });
  for (const option of command.options) {
    if (option.long === "--status") option.default(WorkflowStatus.COMPLETED, "COMPLETED");
  }
  withExamples(
    command,
    ["tributary workflow close <workflow-id>", "it succeeded"],
    [
      `tributary workflow close <workflow-id> --status FAILED --payload '{"message":"out of memory"}'`,
      "it failed",
    ],
    ["tributary workflow close <workflow-id> --status CANCELLED --descendants", "with all below it"],
  );
}
