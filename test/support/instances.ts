/** Several instances in this process, over one database. */
import { expect } from "vitest";
import { readConfig } from "../../server/config.ts";
import type { Bus } from "../../server/core/ports.ts";
import { type RunningServer, startServer } from "../../server/main.ts";
import { adminKey, noAudit } from "./server.ts";
import { until } from "./until.ts";

export function startInstance(
  databaseUrl: string,
  env: Readonly<Record<string, string>> = {},
  bus?: Bus,
): Promise<RunningServer> {
  const config = readConfig({
    DATABASE_URL: databaseUrl,
    PORT: "0",
    TRIBUTARY_ADMIN_KEY: adminKey,
    LOG_LEVEL: "error",
    POOL_SIZE: "5",
    DRAIN_TIMEOUT_MS: "5000",
    ...env,
  });
  return startServer(config, { audit: noAudit, ...(bus === undefined ? {} : { bus }) });
}

/** With nothing left open. */
export async function stopInstance(instance: RunningServer): Promise<void> {
  await until(() => expect(instance.gauges()).toEqual({ openCalls: 0, liveStreams: 0, waitingCommands: 0 }));
  await instance.close();
}

/** What /readyz says, with its status. */
export async function readyOf({ url }: RunningServer): Promise<string> {
  const answer = await fetch(`${url}/readyz`);
  const { status } = (await answer.json()) as { status: string };
  return `${answer.status} ${status}`;
}
