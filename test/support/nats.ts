/**
 * A real nats-server for tests: on a free port, on this machine only, and gone with the tests, however they end. Its
 * parent is a shell that waits on a pipe which only this process holds, and then kills it; so it also ends when the tests
 * are killed, or when it is paused.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { findNatsServer } from "./tools.ts";

export const natsServer = await findNatsServer();

export interface TestNats {
  readonly url: string;
  readonly port: number;
  /** It lives, its connections stay, and it does nothing; until `resume`. */
  pause(): void;
  resume(): void;
  /** Kills it; `start` brings it back on the same port. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** At the end. */
  stop(): Promise<void>;
}

/** More arguments of nats-server, like `--max_payload`, `--user`. */
export async function startNats(...more: string[]): Promise<TestNats> {
  let running = await run(-1, more);
  const { port } = running;
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    pause: () => process.kill(running.pid, "SIGSTOP"),
    resume: () => process.kill(running.pid, "SIGCONT"),
    kill: () => running.kill(),
    async start() {
      running = await run(port, more);
    },
    stop: () => running.kill(),
  };
}

interface Running {
  readonly pid: number;
  readonly port: number;
  kill(): Promise<void>;
}

/** Kills it when its input ends. */
const keeper = '"$@" & pid=$!; echo "pid $pid"; read -r _; kill -9 $pid; wait $pid';

async function run(port: number, more: readonly string[]): Promise<Running> {
  const { path } = natsServer;
  if (path === undefined) throw new Error(natsServer.missing);
  const args = ["-a", "127.0.0.1", "-p", String(port), ...more];
  // Its own session: Ctrl-C must not reach the shell before it has killed the server.
  const shell = spawn("/bin/sh", ["-c", `{ ${keeper}; } 2>&1`, "sh", path, ...args], {
    detached: true,
    stdio: ["pipe", "pipe", "ignore"],
  });
  const gone = once(shell, "exit");
  const kill = async () => {
    shell.stdin.end();
    await gone;
  };
  const lines: string[] = [];
  let pid = 0;
  let listening = 0;
  const reader = createInterface({ input: shell.stdout });
  for await (const line of reader) {
    lines.push(line);
    pid = Number(/^pid (\d+)/.exec(line)?.[1] ?? pid);
    listening = Number(/client connections on 127\.0\.0\.1:(\d+)/.exec(line)?.[1] ?? listening);
    if (/Server is ready/.test(line)) {
      shell.stdout.resume();
      return { pid, port: listening, kill };
    }
    if (/\[FTL\]|exited/.test(line)) break;
  }
  await kill();
  throw new Error(`nats-server did not start:\n${lines.join("\n")}`);
}
