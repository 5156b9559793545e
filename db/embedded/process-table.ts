/**
 * Answers about other processes, by pid. A pid in a file proves little: the process may be gone, a zombie that
 * nobody collects (containers without an init), or, after a restart of the machine or container, a different
 * program that was given the same number.
 */
import { execFile } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { basename } from "node:path";
import { promisify } from "node:util";
import { errorCode } from "./errors.ts";

/** False for a zombie, where the platform tells. */
export async function isAlive(pid: number): Promise<boolean> {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) !== "EPERM") return false;
  }
  if (process.platform !== "linux") return true;
  const line = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // "pid (name, which may hold anything) state …"
  return line === "" || line.slice(line.lastIndexOf(")") + 2, line.lastIndexOf(")") + 3) !== "Z";
}

/**
 * Is this the main process of a Postgres on this cluster? By its command line, which everybody may read
 * (its working folder would be surer, but is hidden from root in a container).
 */
export async function isPostmasterOf(pid: number, cluster: string): Promise<"yes" | "no" | "unknown"> {
  if (!(await isAlive(pid))) return "no";
  const args = await commandLine(pid);
  if (args === undefined) return "unknown";
  const folder = args[args.indexOf("-D") + 1];
  if (basename(args[0] ?? "") !== "postgres" || folder === undefined) return "no";
  const [theirs, ours] = await Promise.all([identify(folder), identify(cluster)]);
  return theirs === ours ? "yes" : "no";
}

async function commandLine(pid: number): Promise<string[] | undefined> {
  if (process.platform === "linux") {
    return readFile(`/proc/${pid}/cmdline`, "utf8").then(
      (text) => text.split("\0"),
      () => undefined,
    );
  }
  // `ps` shows the arguments joined by blanks; ours begin with `postgres -D <cluster> -p `.
  const found = await promisify(execFile)("ps", ["-ww", "-o", "command=", "-p", String(pid)]).catch(
    () => undefined,
  );
  const parts = /^(.*postgres) -D (.*?) -p /.exec(found?.stdout.trim() ?? "");
  return found === undefined ? undefined : [parts?.[1] ?? "", "-D", parts?.[2] ?? ""];
}

/** A folder by what it is, not by its name: it may be reached by several. */
async function identify(folder: string): Promise<string> {
  return stat(folder, { bigint: true }).then(
    ({ dev, ino }) => `${dev}:${ino}`,
    () => folder,
  );
}
