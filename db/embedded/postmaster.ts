/**
 * Postgres' main process: what is there, starting it, stopping it.
 *
 * It is spawned directly rather than by pg_ctl: we then see at once that it gave up, collect it when it ends
 * (no zombie in a container without an init) and need no shell to quote for. `detached` gives it a session of
 * its own: Ctrl-C reaches our server, whose drain stops Postgres last.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Binaries } from "./binaries.ts";
import { type DataFolder, unusable } from "./data-folder.ts";
import { EmbeddedPostgresError, errorCode } from "./errors.ts";
import { freePort } from "./free-port.ts";
import { type Launcher, toCommand } from "./launcher.ts";
import { boundLog, logSize } from "./log-file.ts";
import { isAlive, isPostmasterOf } from "./process-table.ts";

const pollIntervalMs = 20;
/** How long a fast shutdown may take. */
export const stopGraceMs = 10_000;

export type Observation =
  /** `ignorePid`: a stale postmaster.pid names this process, which is alive and something else. */
  | { readonly state: "absent"; readonly ignorePid: number | undefined }
  | { readonly state: "starting" | "ready" | "stopping"; readonly pid: number; readonly port: number };

/** Reads postmaster.pid (lines: pid, folder, time, port, socket folder, address, shared memory, state). */
export async function observe(cluster: string): Promise<Observation> {
  let lines: string[];
  try {
    lines = (await readFile(join(cluster, "postmaster.pid"), "utf8")).split("\n");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return { state: "absent", ignorePid: undefined };
    throw unusable(cluster, error);
  }
  const pid = Number.parseInt(lines[0] ?? "", 10);
  if (!(await isAlive(pid))) return { state: "absent", ignorePid: undefined };
  if ((await isPostmasterOf(pid, cluster)) === "no") return { state: "absent", ignorePid: pid };
  const port = Number.parseInt(lines[3] ?? "", 10);
  const word = (lines[7] ?? "").trim();
  if (word === "stopping") return { state: "stopping", pid, port };
  return { state: word === "ready" && port > 0 ? "ready" : "starting", pid, port };
}

export interface SpawnedPostmaster {
  readonly pid: number;
  /** What it logged lies behind this offset in the log file. */
  readonly logOffset: number;
  hasExited(): boolean;
}

export async function spawnPostmaster(
  folder: DataFolder,
  binaries: Binaries,
  launcher: Launcher,
  settings: Readonly<Record<string, string>>,
  ignorePid: number | undefined,
): Promise<SpawnedPostmaster> {
  // If somebody takes it first, Postgres gives up and is started again with another.
  const port = await freePort();
  const all: Record<string, string> = {
    max_connections: "60",
    timezone: "UTC",
    log_timezone: "UTC",
    log_checkpoints: "off",
    ...settings,
    // These are ours: who may connect, and where the log goes.
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    logging_collector: "off",
  };
  const flags = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const command = toCommand(launcher, binaries.postgres, [
    "-D",
    folder.cluster,
    "-p",
    String(port),
    ...flags,
  ]);
  // Postgres takes any living process of the same user for the one that its postmaster.pid names, except its
  // "grandparent". (Removing the file instead would race with another server that starts just now.)
  if (ignorePid !== undefined) command.options.env.PG_GRANDPARENT_PID = String(ignorePid);
  await boundLog(folder.logFile);
  const logOffset = await logSize(folder.logFile);
  const logHandle = await open(folder.logFile, "a", 0o600).catch((error: unknown) => {
    throw unusable(folder.dataDir, error);
  });
  try {
    if (launcher.owner !== undefined) await logHandle.chown(launcher.owner.uid, launcher.owner.gid);
    const child = spawn(command.file, command.args, {
      ...command.options,
      detached: true,
      stdio: ["ignore", logHandle.fd, logHandle.fd],
    });
    await once(child, "spawn");
    child.unref();
    if (child.pid === undefined) throw new Error("Postgres was started and has no process id");
    return {
      pid: child.pid,
      logOffset,
      hasExited: () => child.exitCode !== null || child.signalCode !== null,
    };
  } catch (error) {
    throw unusable(folder.dataDir, error);
  } finally {
    await logHandle.close();
  }
}

/**
 * Fast shutdown (sessions are ended, work is rolled back, everything is written); after `graceMs` the immediate
 * one, which the next start repairs from the write-ahead log. Does nothing if `pid` is no longer this cluster's.
 */
export async function stopPostmaster(pid: number, cluster: string, graceMs: number): Promise<void> {
  for (const [signal, waitMs] of [
    ["SIGINT", graceMs],
    ["SIGQUIT", 10_000],
  ] as const) {
    if (!(await isRunning(pid, cluster))) return;
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (errorCode(error) === "ESRCH") return;
      throw error;
    }
    const deadline = performance.now() + waitMs;
    while (performance.now() < deadline) {
      if (!(await isAlive(pid))) return;
      await delay(pollIntervalMs);
    }
  }
  throw new EmbeddedPostgresError(
    "start_failed",
    `Postgres (process ${pid}, data folder ${cluster}) does not stop. End it with kill -9 ${pid}; the next start repairs it.`,
  );
}

export async function isRunning(pid: number, cluster: string): Promise<boolean> {
  return (await isPostmasterOf(pid, cluster)) !== "no";
}
