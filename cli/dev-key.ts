/**
 * The key of a server in development mode on this machine: TRIBUTARY_DEV_KEY, or the one it keeps in its data folder. It is
 * never sent to another machine. Only the settings are loaded from the server, not the server.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";

export interface DevKey {
  readonly key: string;
  /** Where it was found, for people. */
  readonly file: string;
}

export async function findDevKey(
  url: string,
  settings: Readonly<Record<string, string | undefined>>,
): Promise<DevKey | undefined> {
  const { settings: known, isLoopback, devKeyFile } = await import("../server/config.ts");
  if (!isLoopback(new URL(url).hostname)) return undefined;
  const fixed = settings["TRIBUTARY_DEV_KEY"] || undefined;
  if (fixed !== undefined) return { key: fixed, file: "TRIBUTARY_DEV_KEY" };
  const dataDir = known.DATA_DIR.schema.safeParse(settings["DATA_DIR"] || undefined);
  if (!dataDir.success) return undefined;
  const file = join(dataDir.data, devKeyFile);
  try {
    return { key: (await readFile(file, "utf8")).trim(), file };
  } catch {
    return undefined; // no server was started here; the call without a key says what to set
  }
}
