/** A Tributary server as it is started by `tributary serve`, with its default settings. */
import { setTimeout as delay } from "node:timers/promises";
import { readConfig } from "../../server/config.ts";
import { startServer } from "../../server/main.ts";
import { nowUs } from "../measure/clock.ts";

/** How often it looks whether anybody is still there, ms. */
const lookEveryMs = 2;

export interface ServerOptions {
  readonly databaseUrl: string;
  readonly adminKey: string;
  /** Absent: the bus in memory. */
  readonly natsUrl?: string | undefined;
}

export async function open({ databaseUrl, adminKey, natsUrl }: ServerOptions) {
  const server = await startServer(
    readConfig({
      DATABASE_URL: databaseUrl,
      NATS_URL: natsUrl,
      TRIBUTARY_ADMIN_KEY: adminKey,
      PORT: "0",
      LOG_LEVEL: "error",
      // A run is over when its figures are read: nobody needs a slow farewell.
      DRAIN_TIMEOUT_MS: "0",
    }),
  );
  return {
    methods: {
      url: async () => server.url,
      /** The time when no call and no stream was open any more. Fails after so long. */
      async untilQuiet(limitMs: number): Promise<number> {
        const deadline = nowUs() + limitMs * 1000;
        for (;;) {
          const { openCalls, liveStreams } = server.gauges();
          const now = nowUs();
          if (openCalls === 0 && liveStreams === 0) return now;
          if (now > deadline) {
            throw new Error(`${openCalls} calls and ${liveStreams} streams are open after ${limitMs} ms`);
          }
          await delay(lookEveryMs);
        }
      },
    },
    close: () => server.close(),
  };
}
