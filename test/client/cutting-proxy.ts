/** A TCP proxy before a server that cuts connections in every way a network can. */
import { connect, createServer, type Server, type Socket } from "node:net";

export interface CuttingProxy extends AsyncDisposable {
  readonly url: string;
  /** Of all connections: a reset, an orderly end, or just gone. */
  cut(how: "reset" | "end" | "destroy"): void;
  /** When so many more bytes have gone through, in the middle of whatever they are. Resolves then. */
  cutAfter(bytes: number, how: "reset" | "end" | "destroy"): Promise<void>;
  /** Connections so far. */
  readonly accepted: number;
  /** New connections are reset. */
  refuse(): void;
  accept(): void;
}

export async function openProxy(target: string): Promise<CuttingProxy> {
  const { port, hostname } = new URL(target);
  const pairs = new Set<readonly [client: Socket, server: Socket]>();
  let refusing = false;
  let accepted = 0;
  let due: { bytes: number; readonly cut: () => void } | undefined;
  const count = (data: Buffer) => {
    if (due === undefined) return;
    due.bytes -= data.length;
    if (due.bytes > 0) return;
    const { cut: act } = due;
    due = undefined;
    act();
  };
  const proxy: Server = createServer((client) => {
    if (refusing) {
      client.resetAndDestroy();
      return;
    }
    accepted += 1;
    const upstream = connect(Number(port), hostname);
    const pair = [client, upstream] as const;
    pairs.add(pair);
    for (const socket of [client, upstream]) {
      socket.on("data", (data: Buffer) => {
        if (pairs.has(pair)) count(data);
      });
    }
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
    const cut = [...pairs];
    pairs.clear();
    for (const [client] of cut) {
      if (how === "reset") client.resetAndDestroy();
      else if (how === "end") client.end();
      else client.destroy();
    }
  };
  return {
    url: `http://127.0.0.1:${(proxy.address() as { port: number }).port}`,
    cut,
    cutAfter: (bytes, how) =>
      new Promise((resolve) => {
        due = {
          bytes,
          cut: () => {
            cut(how);
            resolve();
          },
        };
      }),
    get accepted() {
      return accepted;
    },
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
