/** A real HTTP/2 server without TLS on a free port of the loopback address. */
import { once } from "node:events";
import { createServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

export interface RunningServer extends AsyncDisposable {
  readonly url: string;
  /** Ends open calls as a shutdown does. */
  shutDown(reason: Error): void;
}

export async function serve(routes: (router: ConnectRouter) => void): Promise<RunningServer> {
  const shutdown = new AbortController();
  const server = createServer(connectNodeAdapter({ routes, shutdownSignal: shutdown.signal }));
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    shutDown: (reason) => shutdown.abort(reason),
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      for (const session of sessions) session.destroy();
      await closed;
    },
  };
}
