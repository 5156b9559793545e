/** `tributary tenant …`: needs the admin key. */
import type { Command } from "commander";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { addTenantCreate } from "./create.ts";

export function addTenant(program: Command, cli: Cli): void {
  const command = program.command("tenant").description("make tenants (needs the admin key)");
  addTenantCreate(command, cli);
  withExamples(command, ["tributary tenant create acme", "then: tributary key create acme"]);
}
