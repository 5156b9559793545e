/** A TCP proxy before a server that cuts connections in every way a network can. */
import { connect, createServer, type Server, type Socket } from "node:net";

export interface CuttingProxy extends AsyncDisposable {
  readonly url: string;
  /** Of all connections: a reset, an orderly end, or just gone. */
  cut(how: "reset" | "end" | "destroy"): void;
  /** New connections are reset. */
  refuse(): void;
  accept(): void;
}

export async function openProxy(target: string): Promise<CuttingProxy> {
  const { port, hostname } = new URL(target);
  const pairs = new Set<readonly [client: Socket, server: Socket]>();
  let refusing = false;
  const proxy: Server = createServer((client) => {
    if (refusing) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(Number(port), hostname);
    const pair = [client, upstream] as const;
    pairs.add(pair);
    client.pipe(upstream).pipe(client);
    for (const socket of pair) {
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        pairs.delete(pair);
        for (const other of pair) other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const cut: CuttingProxy["cut"] = (how) => {
    for (const [client] of pairs) {
      if (how === "reset") client.resetAndDestroy();
      else if (how === "end") client.end();
      else client.destroy();
    }
  };
  return {
    url: `http://127.0.0.1:${(proxy.address() as { port: number }).port}`,
    cut,
    refuse: () => {
      refusing = true;
    },
    accept: () => {
      refusing = false;
    },
    [Symbol.asyncDispose]: async () => {
      cut("destroy");
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
}
