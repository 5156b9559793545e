/**
 * From whatever a data folder is in (nothing runs, a killed server's Postgres runs, one is just starting or
 * stopping, another server starts in this moment) to a Postgres that runs and is ours, or a clear error.
 *
 * A loop over what is seen, instead of a plan: every step may be overtaken by another process, and looking
 * again is always right. The advisory lock decides; who started the process does not matter.
 */
import { setTimeout as delay } from "node:timers/promises";
import { type ClaimedCluster, claimCluster } from "./claim-cluster.ts";
import type { DataFolder } from "./data-folder.ts";
import { EmbeddedPostgresError, errorText } from "./errors.ts";
import { logTail } from "./log-file.ts";
import { observe, type SpawnedPostmaster, stopGraceMs, stopPostmaster } from "./postmaster.ts";

const pollIntervalMs = 20;
/** A lost race for the port or the folder, or the sessions of a killed Postgres that are just ending. */
const startDelaysMs = [150, 300, 600];
/** For a Postgres that shuts down, or that says "ready" and does not let us in. */
const patienceMs = 30_000;
const reportIntervalMs = 10_000;

export interface OwnedPostgres extends ClaimedCluster {
  /** True if it ran before this process started one. */
  readonly takenOver: boolean;
}

/** Looks, starts, waits and claims, until this process owns a Postgres that runs, or must not or cannot. */
export async function ownPostgres(
  folder: DataFolder,
  password: string,
  spawn: (ignorePid: number | undefined) => Promise<SpawnedPostmaster>,
  log: (line: string) => void,
): Promise<OwnedPostgres> {
  let spawned: SpawnedPostmaster | undefined;
  let failedStarts = 0;
  let patienceEnds = performance.now() + patienceMs;
  let reportAt = performance.now() + reportIntervalMs;
  let lastFailure: unknown;
  try {
    for (;;) {
      const seen = await observe(folder.cluster);
      if (seen.state === "absent") {
        patienceEnds = performance.now() + patienceMs;
        if (spawned !== undefined && !spawned.hasExited()) {
          // It has not written its postmaster.pid yet.
          await delay(pollIntervalMs);
          continue;
        }
        if (spawned !== undefined) {
          const pauseMs = startDelaysMs[failedStarts];
          if (pauseMs === undefined) throw await startFailed(folder, spawned.logOffset);
          failedStarts += 1;
          await delay(pauseMs);
          // Another server may have been faster.
          if ((await observe(folder.cluster)).state !== "absent") continue;
        }
        spawned = await spawn(seen.ignorePid);
      } else if (seen.state === "ready") {
        const outcome = await claimCluster(folder, password, seen, log).catch((error: unknown) => {
          if (error instanceof EmbeddedPostgresError) throw error;
          lastFailure = error;
        });
        if (outcome !== undefined) return { ...outcome, takenOver: seen.pid !== spawned?.pid };
        if (performance.now() > patienceEnds) throw unresponsive(folder, seen.pid, lastFailure);
        await delay(pollIntervalMs);
      } else {
        // Recovery after a crash takes as long as it takes; a shutdown does not.
        if (seen.state === "starting") patienceEnds = performance.now() + patienceMs;
        if (performance.now() > patienceEnds) throw unresponsive(folder, seen.pid, lastFailure);
        if (performance.now() > reportAt) {
          reportAt = performance.now() + reportIntervalMs;
          log(`Postgres (process ${seen.pid}) is still ${seen.state}, see ${folder.logFile}`);
        }
        await delay(pollIntervalMs);
      }
    }
  } catch (error) {
    // What we started and nobody owns must not stay behind.
    const inUse = error instanceof EmbeddedPostgresError && error.code === "data_dir_in_use";
    if (!inUse && spawned !== undefined) await stopPostmaster(spawned.pid, folder.cluster, stopGraceMs);
    throw error;
  }
}

async function startFailed(folder: DataFolder, logOffset: number): Promise<EmbeddedPostgresError> {
  const tail = await logTail(folder.logFile, logOffset);
  return new EmbeddedPostgresError(
    "start_failed",
    `Postgres does not start in the data folder ${folder.dataDir}. Its log (${folder.logFile}) ends with:\n${tail}\n` +
      "Set DATA_DIR to another folder, or DATABASE_URL to a Postgres of your own, if this cannot be repaired.",
  );
}

function unresponsive(folder: DataFolder, pid: number, cause: unknown): EmbeddedPostgresError {
  return new EmbeddedPostgresError(
    "start_failed",
    `The Postgres in the data folder ${folder.dataDir} (process ${pid}) neither lets us in nor ends ` +
      `(${cause === undefined ? "it is shutting down" : errorText(cause)}), see ${folder.logFile}. ` +
      `End it with kill -INT ${pid} and start again.`,
    { cause },
  );
}
