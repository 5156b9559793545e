/** `tributary workflow create`. The same id with the same content is the same workflow: repeating is safe. */
import type { Command } from "commander";
import { WorkflowSchema } from "../../../gen/tributary/v1/workflow_service_pb.ts";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { toMetadata, toUuid } from "../../options.ts";
import { toPlain } from "../../output/plain.ts";

interface Options {
  readonly id?: string;
  readonly parent?: string;
  readonly meta?: Record<string, string>;
}

export function addWorkflowCreate(parent: Command, cli: Cli): void {
  const command = parent
    .command("create")
    .description("register a workflow; prints its id")
    .argument("<name>", "for people, 1–200 characters")
    .option("--id <uuid>", "its id (default: the server makes one)", toUuid)
    .option("--parent <uuid>", "make it a child of this workflow, in its tree", toUuid)
    .option("--meta <key=value>", "metadata; repeat it for more", toMetadata)
    .action(async (name: string, { id, parent, meta }: Options) => {
      const { workflows } = await cli.client();
      const { workflow } = await workflows.createWorkflow({
        name,
        workflowId: id ?? "",
        parentWorkflowId: parent ?? "",
        metadata: meta ?? {},
      });
      if (workflow === undefined) return;
      cli.output.result(toPlain(WorkflowSchema, workflow), () => workflow.workflowId);
    });
  withExamples(
    command,
    ["tributary workflow create report", "a root"],
    ["tributary workflow create chapter --parent <workflow-id> --meta model=large", "a child with metadata"],
    ["id=$(tributary workflow create report)", "keeps the id in a shell variable"],
  );
}
