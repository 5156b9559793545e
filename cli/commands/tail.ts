/** `tributary tail`: watches a workflow to its end, across lost connections and restarts of the server. */
import { type Command, Option } from "commander";
import type { FollowItem, FollowOptions, TributaryClient } from "../../client/index.ts";
import type { EventType } from "../../gen/tributary/v1/event_pb.ts";
import type { Cli } from "../cli.ts";
import { withExamples } from "../help.ts";
import { toEventType, toList, toOffset, toUuid } from "../options.ts";
import { ConnectionNotes } from "../output/connection-notes.ts";
import { showAsJson } from "../output/stream-json.ts";
import { StreamText } from "../output/stream-text.ts";

interface Options {
  readonly only?: true;
  readonly task?: string;
  readonly after?: number;
  readonly latest?: true;
  readonly types?: readonly EventType[];
}

export function addTail(program: Command, cli: Cli): void {
  const command = program
    .command("tail")
    .description("watch a workflow and all below it until they end; resumes by itself")
    .argument("<workflow-id>", "which", toUuid)
    .option("--only", "this workflow alone, without its descendants")
    .addOption(new Option("--task <id>", "only this task of it; ends with the task").conflicts("only"))
    .option("--after <offset>", "begin after this offset (default: from the beginning)", toOffset)
    .addOption(new Option("--latest", "begin with what comes from now on").conflicts("after"))
    .option("--types <types>", "only these, separated by commas, like TOKEN,PROGRESS", toList(toEventType))
    .action(async (workflowId: string, options: Options) => tail(cli, workflowId, options));
  withExamples(
    command,
    ["tributary tail <workflow-id>", "everything from the beginning, live, to the end"],
    ["tributary tail <workflow-id> --latest --types PROGRESS", "progress from now on"],
    ["tributary tail <workflow-id> --task writer --types TOKEN", "the text of one task"],
    ["tributary tail <workflow-id> --after 120 --json | jq .payload", "for programs, from a position"],
  );
}

async function tail(cli: Cli, workflowId: string, options: Options): Promise<void> {
  const { output } = cli;
  const client = await cli.client();
  // Also finds out at once whether there is a server that knows this workflow.
  const tree = await client.workflows.getWorkflowTree({ workflowId, pageSize: 1000 });
  const signal = cli.interrupts.take();
  const text = new StreamText(output, new Map(tree.workflows.map(({ workflowId: id, name }) => [id, name])));
  const connection = new ConnectionNotes(output);
  let position: bigint | undefined;
  try {
    for await (const item of open(client, workflowId, options, signal)) {
      if (output.json) showAsJson(output, item);
      else text.show(item);
      connection.show(item);
      if (item.kind === "events") position = item.events.at(-1)?.offset;
    }
  } finally {
    text.close();
  }
  if (cli.interrupts.exitCode === undefined) return;
  if (position !== undefined) output.note(`stopped; go on with --after ${position}`);
  cli.exitCode = cli.interrupts.exitCode;
}

function open(
  client: TributaryClient,
  workflowId: string,
  { only, task, after, latest, types }: Options,
  signal: AbortSignal,
): AsyncIterable<FollowItem> {
  const options: FollowOptions = { afterOffset: after, latest, types, signal };
  if (task !== undefined) return client.followTask(workflowId, task, options);
  return only === true ? client.follow(workflowId, options) : client.followTree(workflowId, options);
}
