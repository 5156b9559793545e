/** `tributary token create`: alone on stdout, so that a script can take it. */
import type { Command } from "commander";
import { CreateStreamTokenResponseSchema } from "../../../gen/tributary/v1/token_service_pb.ts";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { toUuid, toWholeNumber } from "../../options.ts";
import { toPlain } from "../../output/plain.ts";
import { toMoment } from "../../output/time.ts";

interface Options {
  readonly ttl?: number;
  readonly variables?: true;
}

export function addTokenCreate(parent: Command, cli: Cli): void {
  const command = parent
    .command("create")
    .description("make a read-only token for workflows and all below them")
    .argument("<workflow-id...>", "1–100 workflows", (text, before: string[] = []) => [
      ...before,
      toUuid(text),
    ])
    .option("--ttl <seconds>", "valid for so long, 1–3600 (default: 900)", toWholeNumber(1, 3600))
    .option("--variables", "it may read variables too")
    .action(async (workflowIds: string[], { ttl, variables }: Options) => {
      const { tokens } = await cli.client();
      const answer = await tokens.createStreamToken({
        workflowIds,
        ttlSeconds: ttl ?? 0,
        includeVariables: variables === true,
      });
      cli.output.result(toPlain(CreateStreamTokenResponseSchema, answer), () => answer.token);
      if (!cli.output.json) cli.output.note(`Valid until ${toMoment(answer.expiresMs)}.`);
    });
  withExamples(
    command,
    ["tributary token create <workflow-id>", "for 15 minutes"],
    ["tributary token create <workflow-id> <workflow-id> --ttl 60", "for two trees and a minute"],
    [
      "TRIBUTARY_API_KEY=$(tributary token create <workflow-id>) tributary tail <workflow-id>",
      "watches as a guest",
    ],
  );
}
