/**
 * How to run a Postgres binary: as whom, and with what around it.
 *
 * Postgres refuses to run as root. Started by root it therefore runs as an unprivileged user: the owner of an
 * existing cluster, else `postgres`, else `nobody`. Where that user cannot reach the data folder or the
 * binaries (a clone in root's home, mode 700), it keeps one capability that lets it pass: reading past
 * permissions if that is enough and allowed, else CAP_DAC_OVERRIDE (containers grant only that one). The
 * price is that SQL run as superuser can then read (or write) root's files, which is why it is the last
 * choice. `no_setuid_fixup` is needed because access(2), by which Postgres checks its own binaries, ignores
 * the capabilities of a non-root user without it.
 *
 * Every choice is tried with a real process before it is used.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import type { Binaries } from "./binaries.ts";
import { EmbeddedPostgresError, errorText } from "./errors.ts";

export interface Launcher {
  /** The user that Postgres' files must belong to; undefined: whoever runs this process. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  /** What runs before the binary, e.g. `setpriv …`; undefined: nothing. */
  readonly through: { readonly file: string; readonly args: readonly string[] } | undefined;
  /** Postgres' major version, as its binary says. */
  readonly major: string;
}

/** What child_process needs to run `file` with `args`. No setting of our own environment reaches Postgres. */
export function toCommand(launcher: Pick<Launcher, "owner" | "through">, file: string, args: string[]) {
  const { owner, through } = launcher;
  return {
    file: through?.file ?? file,
    args: through === undefined ? args : [...through.args, file, ...args],
    options: {
      cwd: "/",
      env: { LC_ALL: "C", TZ: "UTC" } as Record<string, string>,
      ...(through === undefined ? owner : undefined),
    },
  };
}

export async function chooseLauncher(
  binaries: Binaries,
  dataDir: string,
  clusterOwner: { uid: number; gid: number } | undefined,
): Promise<Launcher> {
  const uid = process.getuid?.();
  if (uid !== 0) {
    if (clusterOwner !== undefined && clusterOwner.uid !== uid) {
      throw new EmbeddedPostgresError(
        "data_dir_unusable",
        `The data folder ${dataDir} belongs to the user with id ${clusterOwner.uid}, and this process runs as ${uid}. ` +
          "Run it as the user that made the folder, or set DATA_DIR to another one.",
      );
    }
    const tried = await tryLauncher({ owner: undefined, through: undefined }, binaries, dataDir);
    if ("major" in tried) return tried;
    throw new EmbeddedPostgresError(
      "unsupported_platform",
      `The embedded Postgres (${binaries.postgres}) cannot be run here: ${tried.failure}. ` +
        "Set DATABASE_URL to a Postgres of your own (15 or newer).",
    );
  }
  const owner =
    clusterOwner !== undefined && clusterOwner.uid !== 0 ? clusterOwner : await unprivilegedUser();
  const failures: string[] = [];
  for (const through of [undefined, keeping(owner, "dac_read_search"), keeping(owner, "dac_override")]) {
    const tried = await tryLauncher({ owner, through }, binaries, dataDir);
    if ("major" in tried) return tried;
    failures.push(tried.failure);
  }
  throw new EmbeddedPostgresError(
    "unreachable_as_user",
    `Postgres does not run as root, and the user with id ${owner.uid} cannot reach ${dataDir} or ${binaries.postgres} ` +
      `(${failures.join("; ")}). Start the server as an ordinary user, or let others pass through the folders above ` +
      "(chmod o+x), or move the project or DATA_DIR out of them, or set DATABASE_URL to a Postgres of your own.",
  );
}

function keeping(owner: { uid: number; gid: number }, capability: string) {
  const only = `-all,+${capability}`;
  return {
    file: "setpriv",
    args: [
      `--reuid=${owner.uid}`,
      `--regid=${owner.gid}`,
      "--clear-groups",
      "--securebits=+no_setuid_fixup",
      `--inh-caps=${only}`,
      `--ambient-caps=${only}`,
      `--bounding-set=${only}`,
      "--",
    ],
  };
}

/** One process answers three questions: may it enter the folder, may it run the binary, which version is it. */
async function tryLauncher(
  candidate: Pick<Launcher, "owner" | "through">,
  binaries: Binaries,
  dataDir: string,
): Promise<Launcher | { failure: string }> {
  const script = 'cd -- "$1" && exec "$2" --version';
  const command = toCommand(candidate, "/bin/sh", ["-c", script, "sh", dataDir, binaries.postgres]);
  try {
    const { stdout } = await promisify(execFile)(command.file, command.args, command.options);
    const major = /(\d+)(?:\.\d+|devel|beta\d+|rc\d+)/.exec(stdout)?.[1];
    return major === undefined
      ? { failure: `unexpected version: ${stdout.trim()}` }
      : { ...candidate, major };
  } catch (error) {
    return { failure: errorText(error).trim().split("\n").at(-1) ?? "" };
  }
}

/** From /etc/passwd, where service users of this kind live. */
async function unprivilegedUser(): Promise<{ uid: number; gid: number }> {
  const lines = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  for (const name of ["postgres", "nobody"]) {
    const [, , uid, gid] = lines.find(([found]) => found === name) ?? [];
    // macOS writes nobody's ids as -2.
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid) >>> 0, gid: Number(gid) >>> 0 };
  }
  throw new EmbeddedPostgresError(
    "unreachable_as_user",
    "Postgres does not run as root, and /etc/passwd has neither a user postgres nor a user nobody to run it as. " +
      "Start the server as an ordinary user, or set DATABASE_URL to a Postgres of your own.",
  );
}
