/**
 * What lies in the data folder, and the checks that turn a bad one into a clear error before Postgres sees it.
 *
 * ```
 * <dataDir>/pg            the cluster; appears whole (by rename) or not at all
 * <dataDir>/pg.password   the superuser's password, mode 0600, written once
 * <dataDir>/pg.log        Postgres' log, bounded (log-file.ts)
 * <dataDir>/.initdb-*     a first start that is under way or was killed
 * ```
 */
import { randomBytes } from "node:crypto";
import { access, constants, link, mkdir, readFile, realpath, rm, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { EmbeddedPostgresError, errorCode, errorText } from "./errors.ts";

export interface DataFolder {
  /** Absolute, symbolic links resolved. */
  readonly dataDir: string;
  readonly cluster: string;
  readonly passwordFile: string;
  readonly logFile: string;
}

const remedy = "Set DATA_DIR to another folder, or DATABASE_URL to a Postgres of your own.";

/** Makes the folder where it is missing and checks that this process may write to it. */
export async function openDataFolder(path: string): Promise<DataFolder> {
  const wanted = resolve(path);
  try {
    await mkdir(wanted, { recursive: true });
    const dataDir = await realpath(wanted);
    await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
    return {
      dataDir,
      cluster: join(dataDir, "pg"),
      passwordFile: join(dataDir, "pg.password"),
      logFile: join(dataDir, "pg.log"),
    };
  } catch (error) {
    throw unusable(wanted, error);
  }
}

export function unusable(path: string, error: unknown): EmbeddedPostgresError {
  if (error instanceof EmbeddedPostgresError) return error;
  return new EmbeddedPostgresError(
    "data_dir_unusable",
    `The data folder ${path} cannot be used: ${errorText(error)}. ${remedy}`,
    { cause: error },
  );
}

/** Who owns the cluster; undefined where there is none yet. */
export async function clusterOwner(folder: DataFolder): Promise<{ uid: number; gid: number } | undefined> {
  try {
    const { uid, gid } = await stat(folder.cluster);
    return { uid, gid };
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw unusable(folder.dataDir, error);
  }
}

/** Throws if the cluster was made by another major version: Postgres cannot read it, and would not say how to go on. */
export async function assertClusterVersion(folder: DataFolder, major: string): Promise<void> {
  const file = join(folder.cluster, "PG_VERSION");
  const found = await readFile(file, "utf8").then(
    (text) => text.trim(),
    (error: unknown) => {
      throw unusable(folder.dataDir, error);
    },
  );
  if (found === major) return;
  throw new EmbeddedPostgresError(
    "other_version",
    `The data folder ${folder.dataDir} was made by Postgres ${found}, and this release brings Postgres ${major}. ` +
      `Start the release that made it and dump its database (pg_dump), then load the dump into a new folder. ${remedy}`,
  );
}

/**
 * The password of the cluster in this folder. It is written before the cluster is made, whole and once (by
 * `link`, which fails if the name exists), so that two first starts at the same moment use the same one.
 */
export async function readOrMakePassword(folder: DataFolder, clusterExists: boolean): Promise<string> {
  try {
    return await readPassword(folder);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw unusable(folder.dataDir, error);
  }
  if (clusterExists) {
    throw new EmbeddedPostgresError(
      "data_dir_unusable",
      `The data folder ${folder.dataDir} holds a cluster, but the file with its password is missing: ` +
        `${folder.passwordFile}. Put it back from where the folder came from. ${remedy}`,
    );
  }
  const temporary = `${folder.passwordFile}.${process.pid}.${randomBytes(4).toString("hex")}`;
  try {
    await writeFile(temporary, `${randomBytes(24).toString("base64url")}\n`, { mode: 0o600, flag: "wx" });
    await link(temporary, folder.passwordFile).catch((error: unknown) => {
      if (errorCode(error) !== "EEXIST") throw error;
    });
    return await readPassword(folder);
  } catch (error) {
    throw unusable(folder.dataDir, error);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function readPassword(folder: DataFolder): Promise<string> {
  return (await readFile(folder.passwordFile, "utf8")).trim();
}
