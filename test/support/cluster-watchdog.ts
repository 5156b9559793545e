/**
 * Outlives a test run and cleans up after it: waits until its standard input ends, which happens however the
 * run ends, then stops the Postgres in the folder given and removes the folder. After an orderly end there is
 * nothing left to do.
 */
import { rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { observe, stopPostmaster } from "../../db/embedded/postmaster.ts";

/** Repeats itself for a while: a killed run may have left an initdb or a Postgres that is just starting. */
export async function removeTestCluster(dataDir: string): Promise<void> {
  const cluster = join(dataDir, "pg");
  for (let attempt = 1; ; attempt += 1) {
    try {
      const seen = await observe(cluster);
      if (seen.state !== "absent") await stopPostmaster(seen.pid, cluster, 2000);
      return await rm(dataDir, { recursive: true, force: true, maxRetries: 3 });
    } catch (error) {
      if (attempt === 20) throw error;
      await delay(250);
    }
  }
}

if (import.meta.main) {
  const dataDir = process.argv[2] ?? "";
  if (!basename(dataDir).startsWith("tributary-test-cluster-"))
    throw new Error(`not a test cluster: ${dataDir}`);
  process.stdin.resume();
  process.stdin.once("close", () => {
    removeTestCluster(dataDir).catch((error: unknown) => {
      console.error(error);
      process.exitCode = 1;
    });
  });
}
