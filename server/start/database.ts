/** The database: the embedded one or that of DATABASE_URL, there and up to date. */
import type { Logger } from "pino";
import { startEmbeddedPostgres } from "../../db/embedded/embedded-postgres.ts";
import { migrate } from "../../db/migrate.ts";
import type { Pool } from "../../db/pool.ts";
import type { Config } from "../config.ts";
import type { Closers } from "./closers.ts";

export const connectTimeoutMs = 5000;

export interface OpenedDatabase {
  readonly url: string;
  /** Resolves if the embedded Postgres ends by itself. */
  readonly lost: Promise<Error>;
}

export async function openDatabase(config: Config, log: Logger, closers: Closers): Promise<OpenedDatabase> {
  const opened =
    config.DATABASE_URL === undefined
      ? await openEmbedded(config, log, closers)
      : { url: config.DATABASE_URL, lost: new Promise<Error>(() => {}) };
  const { warnings } = await migrate(opened.url, { connectTimeoutMs });
  for (const warning of warnings) log.warn(warning);
  return opened;
}

async function openEmbedded(config: Config, log: Logger, closers: Closers): Promise<OpenedDatabase> {
  const postgres = await startEmbeddedPostgres({ dataDir: config.DATA_DIR, log: (line) => log.info(line) });
  closers.add("the embedded Postgres", () => postgres.stop());
  log.info(
    `embedded Postgres ${postgres.version} in ${config.DATA_DIR}${postgres.takenOver ? ", taken over from a server that was killed" : ""}`,
  );
  return { url: postgres.url, lost: postgres.lost };
}

export async function isReachable(pool: Pool): Promise<boolean> {
  try {
    await pool.query("select 1");
    return true;
  } catch {
    return false; // whatever it is: not reachable; the log has it from where it matters
  }
}
