/** `tributary token …`: short-lived credentials for reading. */
import type { Command } from "commander";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { addTokenCreate } from "./create.ts";

export function addToken(program: Command, cli: Cli): void {
  const command = program.command("token").description("make stream tokens, for browsers and guests");
  addTokenCreate(command, cli);
  withExamples(command, ["tributary token create <workflow-id> --ttl 300", "for five minutes"]);
}
