/** A server as a process of its own: to be killed, measured and started again on the same port. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { nodeFlags } from "../../cli/node-flags.ts";

const main = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));

export interface SpawnedServer {
  readonly url: string;
  readonly port: string;
  /** Resident memory now, bytes. */
  rss(): Promise<number>;
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Sends a signal that does not end it, like SIGSTOP. */
  signal(signal: NodeJS.Signals): void;
  /** Resolves when it is gone, however. */
  readonly gone: Promise<unknown>;
  /** The end of what it said on its standard error. */
  errors(): string;
}

export async function spawnServer(env: Readonly<Record<string, string>>): Promise<SpawnedServer> {
  const child = spawn(process.execPath, [...nodeFlags, main, "serve"], {
    env: { PATH: process.env["PATH"] ?? "", PORT: "0", LOG_LEVEL: "error", DRAIN_TIMEOUT_MS: "5000", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let errors = "";
  child.stderr?.on("data", (text) => {
    errors = (errors + text).slice(-4000);
  });
  const gone = once(child, "exit");
  const url = await readyUrl(child, () => errors);
  return {
    url,
    gone,
    port: new URL(url).port,
    async rss() {
      const status = await readFile(`/proc/${child.pid}/status`, "utf8");
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
    },
    async kill(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill(signal);
      await gone;
    },
    signal: (signal) => void child.kill(signal),
    errors: () => errors,
  };
}

async function readyUrl(child: ChildProcess, errors: () => string): Promise<string> {
  if (child.stdout === null) throw new Error("no stdout");
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /http:\/\/\S+/.exec(line)?.[0];
    if (url === undefined) continue;
    child.stdout.resume();
    return url;
  }
  throw new Error(`the server ended before it was ready:\n${errors()}`);
}
