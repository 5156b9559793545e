/** `tributary publish`: writes the events of a task, from an argument or from stdin as its lines come in. */

import { ConnectError } from "@connectrpc/connect";
import type { Command } from "commander";
import { isFromServer } from "../../client/index.ts";
import { EventType } from "../../gen/tributary/v1/event_pb.ts";
import {
  PublishTaskEventsProgressSchema,
  PublishTaskEventsResponseSchema,
} from "../../gen/tributary/v1/task_stream_service_pb.ts";
import type { Cli } from "../cli.ts";
import { CommandFailure } from "../failure.ts";
import { withExamples } from "../help.ts";
import { readLines } from "../lines.ts";
import { taskEventTypeNames, toOffset, toTaskEventType, toUuid } from "../options.ts";
import { toPlain } from "../output/plain.ts";

interface Options {
  readonly type: EventType;
  readonly producer?: string;
  readonly sequence: number;
  readonly newlines?: true;
}

/** These happen once in a task, so they do not wait for lines. */
const onceInATask: ReadonlySet<EventType> = new Set([
  EventType.STARTED,
  EventType.COMPLETED,
  EventType.FAILED,
  EventType.CANCELLED,
]);

export function addPublish(program: Command, cli: Cli): void {
  const command = program
    .command("publish")
    .description("write events of a task: the payload given, or each line of stdin as one event")
    .argument("<workflow-id>", "of the workflow", toUuid)
    .argument("<task-id>", "of the task, which need not exist before")
    .argument(
      "[payload]",
      "text, or JSON for structured types (STARTED, COMPLETED, FAILED, CANCELLED need none)",
    )
    .option("--type <type>", taskEventTypeNames.join(", "), toTaskEventType, EventType.TOKEN)
    .option("--producer <id>", "number the events for this producer: repeating the same is safe")
    .option("--sequence <n>", "number of the first event, with --producer", toOffset, 1)
    .option("--newlines", "keep the line breaks of stdin, so that text stays text")
    .action(async (workflowId: string, taskId: string, payload: string | undefined, options: Options) =>
      publish(cli, workflowId, taskId, payload, options),
    );
  for (const option of command.options) {
    if (option.long === "--type") option.default(EventType.TOKEN, "TOKEN");
  }
  withExamples(
    command,
    ["tributary publish <workflow-id> writer 'Hello '", "one token"],
    [`tributary publish <workflow-id> writer --type PROGRESS '{"progress":0.5}'`, "half way"],
    ["my-agent | tributary publish <workflow-id> writer --newlines", "live, line by line"],
    ["tributary publish <workflow-id> import --type DATA --producer import-1 < rows.jsonl", "safe to repeat"],
    ["tributary publish <workflow-id> writer --type COMPLETED", "the task is done"],
  );
}

async function publish(
  cli: Cli,
  workflowId: string,
  taskExecutionId: string,
  payload: string | undefined,
  { type, producer, sequence, newlines }: Options,
): Promise<void> {
  const client = await cli.client();
  let next = BigInt(sequence);
  async function* requests() {
    for await (const payloads of payloadsOf(cli, payload, type, newlines === true)) {
      yield {
        producerId: producer ?? "",
        events: payloads.map((text) => ({
          workflowId,
          taskExecutionId,
          type,
          sequence: producer === undefined ? 0n : next++,
          payload: { case: "text" as const, value: text },
        })),
      };
    }
  }
  try {
    const answer = await client.tasks.publishTaskEvents(requests());
    cli.output.result(
      toPlain(PublishTaskEventsResponseSchema, answer),
      () => `accepted ${answer.accepted}, duplicates ${answer.duplicates}, last offset ${answer.lastOffset}`,
    );
  } catch (error) {
    throw explain(error, producer);
  }
}

async function* payloadsOf(
  { stdin, output }: Cli,
  payload: string | undefined,
  type: EventType,
  newlines: boolean,
): AsyncGenerator<readonly string[]> {
  if (payload !== undefined || onceInATask.has(type)) return yield [payload ?? ""];
  if (stdin.isTTY === true) output.note("Each line becomes an event; Ctrl-D ends.");
  for await (const lines of readLines(stdin)) yield newlines ? lines.map((line) => `${line}\n`) : lines;
}

/** Says how far it came: the call is not atomic. */
function explain(error: unknown, producer: string | undefined): unknown {
  if (!(error instanceof ConnectError) || !isFromServer(error)) return error;
  const progress = error.findDetails(PublishTaskEventsProgressSchema)[0];
  if (progress === undefined) return error;
  const { accepted, duplicates, failedIndex } = progress;
  const stored = accepted + duplicates;
  if (stored === 0n && failedIndex === 0n) return error;
  return new CommandFailure(
    `Event ${failedIndex + 1n}: ${error.rawMessage}`,
    `${stored} before it ${stored === 1n ? "is" : "are"} stored.${producer === undefined ? "" : " Repeat the same with the same --producer: nothing is stored twice."}`,
    { cause: error },
  );
}
