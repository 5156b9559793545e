/**
 * Makes a running Postgres ours: the lock first, then our database, then the proof that it stays.
 */
import pg from "pg";
import type { DataFolder } from "./data-folder.ts";
import { EmbeddedPostgresError, errorText } from "./errors.ts";
import { superuser } from "./initialise-cluster.ts";
import { claimOwnership, isRefusedLogin, type Ownership, ownerName } from "./ownership.ts";
import { isRunning } from "./postmaster.ts";

/** Our own, not `postgres`: there the lock's session would forbid its use as a template. */
export const database = "tributary";

export interface ClaimedCluster {
  readonly ownership: Ownership;
  readonly pid: number;
  readonly port: number;
  /** The server's, e.g. "18.4". */
  readonly version: string;
}

/** Throws an EmbeddedPostgresError for what waiting cannot cure; any other error is worth another look. */
export async function claimCluster(
  folder: DataFolder,
  password: string,
  seen: { readonly pid: number; readonly port: number },
  log: (line: string) => void,
): Promise<ClaimedCluster> {
  const connect = (to: string) => connectTo(seen.port, password, to);
  const result = await claimOwnership({
    connect: () => connect("postgres"),
    isRunning: () => isRunning(seen.pid, folder.cluster),
    log,
  }).catch((error: unknown) => {
    if (!isRefusedLogin(error)) throw error;
    throw new EmbeddedPostgresError(
      "data_dir_unusable",
      `The Postgres in the data folder ${folder.dataDir} does not accept the password in ${folder.passwordFile} ` +
        `(${errorText(error)}). Put back the file that belongs to it. ` +
        "Or set DATA_DIR to another folder, or DATABASE_URL to a Postgres of your own.",
      { cause: error },
    );
  });
  if (result.outcome === "held") {
    throw new EmbeddedPostgresError(
      "data_dir_in_use",
      `The data folder ${folder.dataDir} is in use by another server (${result.owner}). ` +
        "Stop that one, or set DATA_DIR to another folder, or set DATABASE_URL to a Postgres that both may use.",
    );
  }
  const { ownership } = result;
  try {
    await makeDatabase(ownership.client);
    // A new session proves that Postgres is not just stopping, which is what may have freed the lock.
    const session = await connect(database);
    try {
      const { rows } = await session.query<{ server_version: string }>("show server_version");
      return { ownership, pid: seen.pid, port: seen.port, version: rows[0]?.server_version ?? "" };
    } finally {
      await session.end();
    }
  } catch (error) {
    await ownership.release();
    throw error;
  }
}

async function makeDatabase(client: pg.Client): Promise<void> {
  const { rowCount } = await client.query("select from pg_database where datname = $1", [database]);
  if (rowCount === 0) await client.query(`create database ${database}`);
}

async function connectTo(port: number, password: string, to: string): Promise<pg.Client> {
  const client = new pg.Client({
    host: "127.0.0.1",
    port,
    user: superuser,
    password,
    database: to,
    ssl: false,
    application_name: ownerName(process.pid),
    options: "-c idle_session_timeout=0 -c statement_timeout=0",
    connectionTimeoutMillis: 5000,
  });
  // Without a listener the end of a session would end the process; `end` tells us.
  client.on("error", () => undefined);
  try {
    await client.connect();
    return client;
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}
