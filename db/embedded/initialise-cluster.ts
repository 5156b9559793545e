/**
 * Makes the cluster on the first start: initdb into a temporary sibling, then one rename. A crash at any
 * moment leaves either no cluster or a whole one; of two processes that do this at once, one rename wins and
 * the other throws its own work away and goes on with the winner's.
 *
 * UTF-8; sorted by code point, with Unicode's rules for letters (C.UTF-8 of Postgres itself), so that neither
 * the machine's locales nor their updates change an index. Passwords only (SCRAM), also on the loopback.
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chown, lchown, mkdir, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Binaries } from "./binaries.ts";
import { type DataFolder, unusable } from "./data-folder.ts";
import { EmbeddedPostgresError, errorCode, errorText } from "./errors.ts";
import { type Launcher, toCommand } from "./launcher.ts";
import { isAlive } from "./process-table.ts";

export const superuser = "tributary";

const prefix = ".initdb-";

export async function initialiseCluster(
  folder: DataFolder,
  binaries: Binaries,
  launcher: Launcher,
  password: string,
): Promise<void> {
  const temporary = join(folder.dataDir, `${prefix}${process.pid}-${randomBytes(4).toString("hex")}`);
  try {
    await mkdir(temporary, { mode: 0o700 });
    // initdb reads the password as the user that it runs as.
    const passwordFile = join(temporary, "password");
    await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
    if (launcher.owner !== undefined) {
      await chown(passwordFile, launcher.owner.uid, launcher.owner.gid);
      await chown(temporary, launcher.owner.uid, launcher.owner.gid);
    }
    const made = join(temporary, "pg");
    await runInitdb(folder, binaries, launcher, made, passwordFile);
    await rename(made, folder.cluster).catch((error: unknown) => {
      if (!["ENOTEMPTY", "EEXIST"].includes(errorCode(error))) throw error;
    });
    await syncFolder(folder.dataDir);
  } catch (error) {
    throw unusable(folder.dataDir, error);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function runInitdb(
  folder: DataFolder,
  binaries: Binaries,
  launcher: Launcher,
  target: string,
  passwordFile: string,
): Promise<void> {
  const command = toCommand(launcher, binaries.initdb, [
    `--pgdata=${target}`,
    `--username=${superuser}`,
    `--pwfile=${passwordFile}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
  ]);
  try {
    await promisify(execFile)(command.file, command.args, command.options);
  } catch (error) {
    // Not Node's own message: it repeats the whole command line.
    const said =
      typeof error === "object" && error !== null && "stderr" in error ? String(error.stderr).trim() : "";
    throw new EmbeddedPostgresError(
      "start_failed",
      `A new database could not be made in the data folder ${folder.dataDir}: ${said || errorText(error)}. ` +
        "Make room or set DATA_DIR to another folder, or set DATABASE_URL to a Postgres of your own.",
      { cause: error },
    );
  }
}

/** The rename is durable only once the folder itself is written. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Removes what first starts that were killed left behind. For the owner of the folder only. */
export async function removeLeftovers(folder: DataFolder): Promise<void> {
  for (const name of await readdir(folder.dataDir)) {
    if (!name.startsWith(prefix)) continue;
    const pid = Number(name.slice(prefix.length).split("-")[0]);
    // In a container every server may have the same pid; ours is past its own first start.
    if (pid !== process.pid && (await isAlive(pid))) continue;
    // An initdb that outlived its parent may still write; then the next start removes it.
    await rm(join(folder.dataDir, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Gives a cluster that root owns (copied, or chowned by hand) to the user that Postgres runs as. */
export async function giveCluster(folder: DataFolder, owner: { uid: number; gid: number }): Promise<void> {
  try {
    for (const name of await readdir(folder.cluster, { recursive: true })) {
      await lchown(join(folder.cluster, name), owner.uid, owner.gid);
    }
    await chown(folder.cluster, owner.uid, owner.gid);
  } catch (error) {
    throw unusable(folder.dataDir, error);
  }
}
