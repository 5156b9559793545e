/**
 * A Postgres of its own that can be restarted in every way, on the same port and data folder: stopped in an orderly way,
 * at once, or with kill -9.
 */
import { chmod, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../../db/embedded/embedded-postgres.ts";
import { freePort } from "../../../db/embedded/free-port.ts";
import { isAlive } from "../../../db/embedded/process-table.ts";
import { watchCluster } from "../../support/cluster.ts";
import { removeTestCluster } from "../../support/cluster-watchdog.ts";
import { until } from "../../support/until.ts";

/** Fast: sessions are ended. Immediate: nothing is written. Kill: as a crash. */
export const stops = { fast: "SIGINT", immediate: "SIGQUIT", kill: "SIGKILL" } as const;

export class RestartablePostgres {
  readonly port: number;
  readonly #dataDir: string;
  #running: EmbeddedPostgres | undefined;

  private constructor(dataDir: string, port: number) {
    this.#dataDir = dataDir;
    this.port = port;
  }

  static async start(): Promise<RestartablePostgres> {
    const dataDir = await mkdtemp(join(tmpdir(), "tributary-test-cluster-"));
    // Started by root, Postgres runs as another user, who must be able to enter.
    await chmod(dataDir, 0o711);
    watchCluster(dataDir);
    const postgres = new RestartablePostgres(dataDir, await freePort());
    await postgres.#start();
    return postgres;
  }

  /** Past all links. */
  get url(): string {
    if (this.#running === undefined) throw new Error("Postgres is not running");
    return this.#running.url;
  }

  async restart(how: keyof typeof stops): Promise<void> {
    const { pid, stop } = this.#running as EmbeddedPostgres;
    process.kill(pid, stops[how]);
    await until(async () => {
      if (await isAlive(pid)) throw new Error("Postgres is still there");
    }, 20_000);
    await stop();
    await this.#start();
  }

  async close(): Promise<void> {
    await this.#running?.stop();
    await removeTestCluster(this.#dataDir);
  }

  async #start(): Promise<void> {
    const lines: string[] = [];
    try {
      this.#running = await startEmbeddedPostgres({
        dataDir: this.#dataDir,
        settings: { port: String(this.port), max_connections: "150" },
        log: (line) => lines.push(line),
      });
    } catch (error) {
      throw new Error(`Postgres did not start:\n${lines.join("\n")}`, { cause: error });
    }
  }
}
