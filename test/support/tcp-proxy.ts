/** A TCP proxy that cuts, refuses or falls silent on command: the network as it is on bad days. */

import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export interface TcpProxy {
  readonly port: number;
  /** Connections so far. */
  readonly accepted: number;
  /** Breaks all connections; new ones are refused until `restore`. */
  cut(): void;
  /** Keeps connections open and forwards nothing, until `restore`. */
  silence(): void;
  restore(): void;
  close(): Promise<void>;
}

export async function startTcpProxy(host: string, port: number): Promise<TcpProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let mode: "forward" | "refuse" | "silent" = "forward";
  let accepted = 0;
  const server = createServer((client) => {
    accepted++;
    client.on("error", () => {});
    if (mode === "refuse") return client.resetAndDestroy();
    const upstream = connect(port, host);
    upstream.on("error", () => client.destroy());
    const pair = [client, upstream] as const;
    pairs.add(pair);
    for (const [from, to] of [pair, [upstream, client] as const]) {
      from.on("data", (data) => {
        if (mode === "silent") return;
        if (!to.write(data)) from.pause();
      });
      to.on("drain", () => from.resume());
      from.on("end", () => to.end());
      from.on("close", () => {
        to.destroy();
        pairs.delete(pair);
      });
    }
    return undefined;
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return {
    port: address.port,
    get accepted() {
      return accepted;
    },
    cut() {
      mode = "refuse";
      for (const [client, upstream] of pairs) {
        client.resetAndDestroy();
        upstream.resetAndDestroy();
      }
    },
    silence() {
      mode = "silent";
    },
    restore() {
      mode = "forward";
    },
    async close() {
      for (const [client, upstream] of pairs) {
        client.destroy();
        upstream.destroy();
      }
      server.close();
      await once(server, "close");
    },
  };
}
