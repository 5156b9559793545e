/** `tributary after-restore`: tells readers that offsets begin anew, once after each restore of an older state. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { CommandFailure } from "../failure.ts";
import { withExamples } from "../help.ts";
import { explainStart } from "../start-failure.ts";

export function addAfterRestore(program: Command, cli: Cli): void {
  const command = program
    .command("after-restore")
    .description(
      "raise the epochs of all streams, once after an older state was restored, before readers come back",
    )
    .option(
      "--nothing-lost",
      "all that was stored is there (a standby took over, a dump of a stopped server): keep the epochs",
    )
    .action((options: { nothingLost?: boolean }) => afterRestoring(cli, options.nothingLost === true));
  withExamples(command, [
    "DATABASE_URL=postgres://… tributary after-restore",
    "after pg_restore, before the servers start",
  ]);
}

async function afterRestoring(cli: Cli, nothingLost: boolean): Promise<void> {
  const { readConfig } = await import("../../server/config.ts");
  const { describe, migrate } = await import("../../db/migrate.ts");
  const { afterRestore } = await import("../../db/restored.ts");
  try {
    const { DATABASE_URL, DATA_DIR } = readConfig(cli.environment.serverSettings);
    const embedded = DATABASE_URL === undefined ? await openEmbedded(DATA_DIR) : undefined;
    const url = embedded?.url ?? (DATABASE_URL as string);
    try {
      await migrate(url);
      const streams = await afterRestore(url, nothingLost);
      const database = describe(url);
      cli.output.result({ kind: "restored", database, streams, nothingLost }, () =>
        nothingLost
          ? `Noted: ${database} has all that was stored; epochs are as they were`
          : explain(database, streams),
      );
    } finally {
      await embedded?.stop();
    }
  } catch (error) {
    throw await explainStart(error);
  }
}

async function openEmbedded(dataDir: string) {
  if (!existsSync(join(dataDir, "pg"))) {
    throw new CommandFailure(
      `DATABASE_URL is not set, and there is no embedded database in ${dataDir}.`,
      "Set DATABASE_URL, or DATA_DIR, to what was restored.",
    );
  }
  const { startEmbeddedPostgres } = await import("../../db/embedded/embedded-postgres.ts");
  return startEmbeddedPostgres({ dataDir, log: () => {} });
}

const explain = (
  database: string,
  streams: number,
) => `Raised the epochs of ${streams} ${streams === 1 ? "stream" : "streams"}: ${database}

Readers that come back with their epoch get ABORTED (Server-Sent Events: 409) and begin anew. Those that send none are not
told: positions beyond the tail get OUT_OF_RANGE (416), others may miss events that took old places.
Workers that number their entries and still have them send them again: what is there is a duplicate, what was lost is stored.
Revoke again the keys, and disable again the tenants, that were revoked or disabled after the backup.`;
