/** A Tributary server as it is started by `tributary serve`, with its default settings. */
import { readConfig } from "../../server/config.ts";
import { startServer } from "../../server/main.ts";

export async function open({ databaseUrl, adminKey }: { databaseUrl: string; adminKey: string }) {
  const server = await startServer(
    readConfig({
      DATABASE_URL: databaseUrl,
      TRIBUTARY_ADMIN_KEY: adminKey,
      PORT: "0",
      LOG_LEVEL: "error",
      // A run is over when its figures are read: nobody needs a slow farewell.
      DRAIN_TIMEOUT_MS: "0",
    }),
  );
  return {
    methods: { url: async () => server.url },
    close: () => server.close(),
  };
}
