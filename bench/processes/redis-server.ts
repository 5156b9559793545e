/**
 * A redis-server of its own, in a folder of its own, that keeps what it acknowledges: every answer is held back until its log is
 * synced (`appendfsync always`). Gone with this process.
 */

import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnKept } from "../../test/support/kept-process.ts";
import { redisServer } from "../needs.ts";

const options = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--bind", "127.0.0.1"];

export async function open() {
  if (redisServer === undefined) throw new Error("no redis-server here");
  const folder = await mkdtemp(join(tmpdir(), "tributary-bench-redis-"));
  const port = await freePort();
  const ready = Promise.withResolvers<void>();
  const lines: string[] = [];
  const command = [redisServer, ...options, "--dir", folder, "--port", String(port)] as const;
  const { pid, kill, exited } = await spawnKept([...command], { PATH: process.env["PATH"] }, (line) => {
    lines.push(line);
    if (line.includes("Ready to accept connections")) ready.resolve();
  });
  void exited.then(() => ready.reject(new Error(`redis-server ended:\n${lines.join("\n")}`)));
  await ready.promise;
  return {
    methods: { address: async () => ({ port, pid }) },
    close: async () => {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
