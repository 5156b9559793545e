/**
 * The database of a server without DATABASE_URL: a real Postgres of its own, in the data folder.
 *
 * Guarantees
 * - At most one server owns a data folder; a second one gets an error and disturbs nothing.
 * - Whatever was killed, and when: the next start works, with everything that was committed. A Postgres that
 *   outlived its server is taken over (and then stopped by the one that took it over).
 * - It listens on 127.0.0.1 only, on a free port, behind a random password; it has no socket file.
 *
 * Limits: processes are told apart by pid, so a data folder must not be shared between machines or containers
 * that cannot see each other's processes (true of every Postgres data folder).
 *
 * Cost: 1 to 2 s for the first start, 0.1 to 0.2 s for later ones and for a take-over (measured on 2 cores).
 */
import { resolveBinaries } from "./binaries.ts";
import { database } from "./claim-cluster.ts";
import { assertClusterVersion, clusterOwner, openDataFolder, readOrMakePassword } from "./data-folder.ts";
import { giveCluster, initialiseCluster, removeLeftovers, superuser } from "./initialise-cluster.ts";
import { chooseLauncher } from "./launcher.ts";
import { keepLogBounded } from "./log-file.ts";
import { ownPostgres } from "./own-postgres.ts";
import { spawnPostmaster, stopGraceMs, stopPostmaster } from "./postmaster.ts";

export interface EmbeddedPostgres {
  /** Of the database `tributary`, as its superuser. Holds the password: not for logs. */
  readonly url: string;
  /** The server's, e.g. "18.4". */
  readonly version: string;
  /** True if it was found running, left by a server that was killed. */
  readonly takenOver: boolean;
  /** The main process of Postgres. */
  readonly pid: number;
  /**
   * Resolves, at most once and never before it matters, when Postgres ends or the data folder is owned by
   * another server without `stop()` having been called. Never rejects; stays pending after `stop()`.
   */
  readonly lost: Promise<Error>;
  /** Ends all sessions and Postgres: a fast shutdown, after 10 s an immediate one. Twice is once. */
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** Made where missing; relative to the working folder. */
  readonly dataDir: string;
  readonly log: (line: string) => void;
  /**
   * Extra Postgres settings, e.g. `{ fsync: "off" }`. They count from the start of the process: one that is
   * taken over keeps those it was started with. Addresses, port and log belong to this module.
   */
  readonly settings?: Readonly<Record<string, string>>;
}

export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { log, settings = {} } = options;
  const binaries = await resolveBinaries();
  const folder = await openDataFolder(options.dataDir);
  const found = await clusterOwner(folder);
  const launcher = await chooseLauncher(binaries, folder.dataDir, found);
  const password = await readOrMakePassword(folder, found !== undefined);
  if (found === undefined) {
    log(`Making a new Postgres ${launcher.major} database in ${folder.dataDir}`);
    await initialiseCluster(folder, binaries, launcher, password);
  } else if (launcher.owner !== undefined && found.uid !== launcher.owner.uid) {
    await giveCluster(folder, launcher.owner);
  }
  await assertClusterVersion(folder, launcher.major);

  const spawn = (ignorePid: number | undefined) =>
    spawnPostmaster(folder, binaries, launcher, settings, ignorePid);
  const owned = await ownPostgres(folder, password, spawn, log);
  await removeLeftovers(folder);
  const stopBounding = keepLogBounded(folder.logFile, log);
  const { ownership, pid, port, version, takenOver } = owned;
  log(
    `Postgres ${version} ${takenOver ? "was still running and is taken over" : "is running"} ` +
      `(process ${pid}, port ${port}, data folder ${folder.dataDir})`,
  );

  let stopping: Promise<void> | undefined;
  const stop = async () => {
    stopBounding();
    ownership.expectEnd();
    if (!ownership.isAnothers()) await stopPostmaster(pid, folder.cluster, stopGraceMs);
    await ownership.release();
  };
  return {
    url: `postgres://${superuser}:${password}@127.0.0.1:${port}/${database}`,
    version,
    takenOver,
    pid,
    lost: ownership.lost,
    stop: () => {
      stopping ??= stop();
      return stopping;
    },
  };
}
