/** `tributary key …`: needs the admin key, or a tenant's key with MANAGE for its own tenant. */
import type { Command } from "commander";
import type { Cli } from "../../cli.ts";
import { withExamples } from "../../help.ts";
import { addKeyCreate } from "./create.ts";
import { addKeyList } from "./list.ts";
import { addKeyRevoke } from "./revoke.ts";
import { addKeyRotateSigning } from "./rotate-signing.ts";

export function addKey(program: Command, cli: Cli): void {
  const command = program
    .command("key")
    .description("make, list and revoke API keys (needs the admin key, or MANAGE for the own tenant)");
  for (const add of [addKeyCreate, addKeyList, addKeyRevoke, addKeyRotateSigning]) add(command, cli);
  withExamples(
    command,
    ["tributary key create acme --role READ", "for a dashboard"],
    ["tributary key list acme", "who can call"],
  );
}
