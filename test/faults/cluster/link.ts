/**
 * A TCP link from one process to another, as networks are on bad days: it cuts, refuses, and falls silent in one
 * direction or both. Silence loses nothing, as TCP loses nothing: what was held back goes on when it is over, unless the
 * link is cut before.
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** "up": towards the server; "down": towards the client. */
export type Direction = "up" | "down";

/** What becomes of a piece of what a connection carries. */
export type Filter = (chunk: Buffer) => Buffer;

export interface Link {
  readonly port: number;
  /** When a client connected, each time, ms. */
  readonly accepted: readonly number[];
  /** Breaks all connections; new ones are taken. */
  cut(): void;
  /** Breaks all connections and refuses new ones, until `restore`. */
  refuse(): void;
  /** Keeps connections open and forwards nothing in these directions, until `restore` or `cut`. */
  silence(...directions: Direction[]): void;
  restore(): void;
  close(): Promise<void>;
}

interface Pipe {
  readonly from: Socket;
  readonly to: Socket;
  readonly direction: Direction;
}

/** `filters` makes one for each connection's way down. */
export async function openLink(host: string, port: number, filters?: () => Filter): Promise<Link> {
  const pipes = new Set<Pipe>();
  const silent = new Set<Direction>();
  const accepted: number[] = [];
  let refusing = false;

  const flow = ({ from, to, direction }: Pipe) => {
    if (silent.has(direction) || to.writableNeedDrain) from.pause();
    else from.resume();
  };
  const join = (pipe: Pipe, filter: Filter | undefined) => {
    const { from, to } = pipe;
    pipes.add(pipe);
    from.on("error", () => {});
    from.on("data", (data) => {
      const passed = filter === undefined ? data : filter(data);
      if (passed.byteLength > 0 && !to.write(passed)) flow(pipe);
    });
    to.on("drain", () => flow(pipe));
    from.on("end", () => to.end());
    from.on("close", () => {
      to.destroy();
      pipes.delete(pipe);
    });
    flow(pipe);
  };
  const server = createServer((client) => {
    client.on("error", () => {});
    if (refusing) return void client.resetAndDestroy();
    accepted.push(Date.now());
    client.setNoDelay(true);
    const upstream = connect({ port, host, noDelay: true });
    join({ from: client, to: upstream, direction: "up" }, undefined);
    join({ from: upstream, to: client, direction: "down" }, filters?.());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const breakAll = () => {
    for (const { from } of pipes) from.resetAndDestroy();
  };
  const resume = () => {
    silent.clear();
    for (const pipe of pipes) flow(pipe);
  };
  return {
    port: address.port,
    accepted,
    cut() {
      breakAll();
      silent.clear();
    },
    refuse() {
      refusing = true;
      breakAll();
    },
    silence(...directions) {
      for (const direction of directions) silent.add(direction);
      for (const pipe of pipes) flow(pipe);
    },
    restore() {
      refusing = false;
      resume();
    },
    async close() {
      breakAll();
      server.close();
      await once(server, "close");
    },
  };
}
