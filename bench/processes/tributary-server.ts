/** A Tributary server as it is started by `tributary serve`, with its default settings. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
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
  readonly observed?: Observed | undefined;
  /** Absent: any free one. */
  readonly port?: number | undefined;
  /** How long a drain may take, ms. Absent: a run is over when its figures are read, and nobody needs a slow farewell. */
  readonly drainMs?: number | undefined;
}

/**
 * What looks on. Absent: metrics, and a log of errors. "all": with a line of the log for each call, as by default; "traced": and a
 * span, of each call and commit; "not": neither metrics nor logs.
 */
export type Observed = "all" | "traced" | "not";

export async function open(options: ServerOptions) {
  const { databaseUrl, adminKey, natsUrl, observed, port = 0, drainMs = 0 } = options;
  const receiver = observed === "traced" ? await openReceiver() : undefined;
  const server = await startServer(
    readConfig({
      DATABASE_URL: databaseUrl,
      NATS_URL: natsUrl,
      TRIBUTARY_ADMIN_KEY: adminKey,
      PORT: String(port),
      LOG_LEVEL: observed === undefined ? "error" : observed === "not" ? "silent" : "info",
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver?.url,
      DRAIN_TIMEOUT_MS: String(drainMs),
    }),
    observed === "not" ? { unobserved: true } : {},
  );
  return {
    methods: {
      url: async () => server.url,
      /** As at SIGTERM. */
      drain: () => server.close(),
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
    async close() {
      await server.close();
      receiver?.close();
    },
  };
}

/** Takes traces and forgets them, in the server's own process: their cost is part of the figure. */
async function openReceiver() {
  const receiver = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(200).end());
  });
  await new Promise<void>((resolve) => {
    receiver.listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`,
    close() {
      receiver.closeAllConnections();
      receiver.close();
    },
  };
}
