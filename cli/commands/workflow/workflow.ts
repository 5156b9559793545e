/** `tributary workflow …`: the registry. */
import type { Command } from "commander";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { addWorkflowClose } from "./close.ts";
import { addWorkflowCreate } from "./create.ts";
import { addWorkflowList } from "./list.ts";
import { addWorkflowTree } from "./tree.ts";
import { addWorkflowWatch } from "./watch.ts";

export function addWorkflow(program: Command, cli: Cli): void {
  const command = program.command("workflow").description("register, list, watch and close workflows");
  for (const add of [addWorkflowCreate, addWorkflowList, addWorkflowTree, addWorkflowWatch, addWorkflowClose])
    add(command, cli);
  withExamples(
    command,
    ["tributary workflow create report", "registers a root"],
    ["tributary workflow list --roots", "what there is"],
  );
}
