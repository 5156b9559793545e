/** Serves the bundled page from two origins that differ by their host's name alone: one that may call, one that may not. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

export interface WebPages {
  readonly allowed: string;
  readonly forbidden: string;
  close(): Promise<void>;
}

export async function serveWebPages(): Promise<WebPages> {
  const script = build({
    entryPoints: [fileURLToPath(import.meta.resolve("./page.ts"))],
    bundle: true,
    write: false,
    platform: "browser",
    format: "iife",
  });
  const server = createServer(async (_, response) => {
    const { outputFiles } = await script;
    response.setHeader("content-type", "text/html; charset=utf-8");
    response.end(`<!doctype html><title>Tributary</title><script>${outputFiles[0]?.text}</script>`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    allowed: `http://127.0.0.1:${port}`,
    forbidden: `http://localhost:${port}`,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
