/**
 * A Postgres for a test run, and a database of its own for each test that wants one.
 *
 * Nothing stays behind, even when the run is killed with kill -9: a watchdog process
 * (`cluster-watchdog.ts`, started before Postgres) waits on a pipe that only this process holds. The kernel
 * closes it whenever and however this process ends; the watchdog then stops Postgres and removes the folder.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, mkdtemp } from "node:fs/promises";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { startEmbeddedPostgres } from "../../db/embedded/embedded-postgres.ts";
import { removeTestCluster } from "./cluster-watchdog.ts";

export interface TestCluster {
  /** Of an empty database; `createTestDatabase` makes others beside it. A plain string, for vitest's `provide`. */
  readonly url: string;
  stop(): Promise<void>;
}

export interface TestDatabase {
  readonly url: string;
  /** Drops it even if sessions are open. */
  drop(): Promise<void>;
}

/** For vitest's globalSetup: `const cluster = await startTestCluster(); return () => cluster.stop();` */
export async function startTestCluster(
  options: {
    /** Postgres settings, e.g. `{ fsync: "off" }`. Default: none, so that durability is as in production. */
    readonly settings?: Readonly<Record<string, string>>;
  } = {},
): Promise<TestCluster> {
  const dataDir = await mkdtemp(join(tmpdir(), "tributary-test-cluster-"));
  // Started by root, Postgres runs as another user, who must be able to enter.
  await chmod(dataDir, 0o711);
  watchCluster(dataDir);
  const lines: string[] = [];
  try {
    const { settings = {} } = options;
    const postgres = await startEmbeddedPostgres({ dataDir, settings, log: (line) => lines.push(line) });
    return {
      url: postgres.url,
      stop: async () => {
        try {
          await postgres.stop();
        } finally {
          await removeTestCluster(dataDir);
        }
      },
    };
  } catch (error) {
    await removeTestCluster(dataDir);
    throw new Error(`The tests' Postgres did not start:\n${lines.join("\n")}`, { cause: error });
  }
}

/** Starts the watchdog of a folder `tributary-test-cluster-…` that holds a Postgres. */
export function watchCluster(dataDir: string): void {
  const script = fileURLToPath(new URL("./cluster-watchdog.ts", import.meta.url));
  const watchdog = spawn(process.execPath, [script, dataDir], {
    // Its own session: Ctrl-C and the kill of a process group must not reach it.
    detached: true,
    stdio: ["pipe", "ignore", "inherit"],
  });
  watchdog.on("error", (error) => console.error("The tests' Postgres has no watchdog:", error));
  watchdog.unref();
  // It must not keep the run alive; the end of the run closes it.
  if (watchdog.stdin instanceof Socket) watchdog.stdin.unref();
}

/** A new database in the cluster: empty, or a copy of `template` (in which no session may be open). */
export async function createTestDatabase(
  clusterUrl: string,
  options: { readonly template?: string } = {},
): Promise<TestDatabase> {
  const name = `test_${randomBytes(8).toString("hex")}`;
  const template = options.template ?? "template1";
  await run(
    clusterUrl,
    `create database ${pg.escapeIdentifier(name)} template ${pg.escapeIdentifier(template)}`,
  );
  const url = new URL(clusterUrl);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    drop: () => run(clusterUrl, `drop database if exists ${pg.escapeIdentifier(name)} with (force)`),
  };
}

async function run(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
