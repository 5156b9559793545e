/** `tributary migrate`: brings the database up to date without serving. `serve` does the same at its start. */
import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { CommandFailure } from "../failure.ts";
import { withExamples } from "../help.ts";
import { explainStart } from "../start-failure.ts";

export function addMigrate(program: Command, cli: Cli): void {
  const command = program
    .command("migrate")
    .description("bring the database at DATABASE_URL up to date (serve does it too)")
    .action(() => migrateDatabase(cli));
  withExamples(command, ["DATABASE_URL=postgres://… tributary migrate", "before new servers start"]);
}

async function migrateDatabase(cli: Cli): Promise<void> {
  const { readConfig } = await import("../../server/config.ts");
  const { describe, migrate } = await import("../../db/migrate.ts");
  try {
    const { DATABASE_URL: url } = readConfig(cli.environment.serverSettings);
    if (url === undefined) {
      throw new CommandFailure(
        "DATABASE_URL is not set, so there is nothing to migrate.",
        "The embedded database is brought up to date whenever a server starts on it.",
      );
    }
    const { warnings } = await migrate(url);
    for (const warning of warnings) cli.output.note(warning);
    const database = describe(url);
    cli.output.result({ kind: "migrated", database }, () => `Up to date: ${database}`);
  } catch (error) {
    throw await explainStart(error);
  }
}
