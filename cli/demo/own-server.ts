/**
 * The server of the demo: the one at TRIBUTARY_URL if it answers, else one in this process, in development mode on the
 * embedded database, that stops with the demo.
 */
import type { RunningServer } from "../../server/main.ts";
import type { Cli } from "../cli.ts";
import { explainStart } from "../start-failure.ts";

export interface DemoServer {
  readonly url: string;
  readonly key: string | undefined;
  /** It ends with the demo. */
  readonly isOwn: boolean;
  close(): Promise<void>;
}

const answerTimeoutMs = 2000;

export async function findOrStartServer(cli: Cli): Promise<DemoServer> {
  const { url } = cli.environment;
  if (await isTributary(url)) return { url, key: await cli.findKey(), isOwn: false, close: async () => {} };
  cli.output.note(`No server answers at ${url}: starting one for the demo…`);
  const server = await start(cli);
  return { url: server.url, key: server.devKey, isOwn: true, close: () => server.close() };
}

async function isTributary(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(answerTimeoutMs) });
    const body = (await response.json()) as { status?: unknown };
    return response.ok && body.status === "alive";
  } catch {
    return false; // nobody, or somebody else
  }
}

async function start(cli: Cli): Promise<RunningServer> {
  const { readConfig } = await import("../../server/config.ts");
  const { startServer } = await import("../../server/main.ts");
  const {
    PORT,
    DATA_DIR,
    LOG_LEVEL = "error",
    DRAIN_TIMEOUT_MS,
    TRIBUTARY_DEV_KEY,
  } = cli.environment.serverSettings;
  // Not DATABASE_URL: a demo writes into nobody's database.
  const settings = { PORT, DATA_DIR, LOG_LEVEL, DRAIN_TIMEOUT_MS, TRIBUTARY_DEV_KEY };
  let config: ReturnType<typeof readConfig> | undefined;
  try {
    config = readConfig(settings);
    try {
      return await startServer(config);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
      return await startServer({ ...config, PORT: 0 });
    }
  } catch (error) {
    throw await explainStart(error, config);
  }
}
