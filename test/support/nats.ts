/**
 * A real nats-server for tests: on a free port, on this machine only, and gone with the tests, however they end. Its
 * parent is a shell that waits on a pipe which only this process holds, and then kills it; so it also ends when the tests
 * are killed, or when it is paused.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { expect } from "vitest";
import { findNatsServer } from "./tools.ts";
import { until } from "./until.ts";

export const natsServer = await findNatsServer();

export interface TestNats {
  readonly url: string;
  readonly port: number;
  /** Subjects that clients are subscribed to; once for each subscription. */
  subscriptions(): Promise<string[]>;
  /** Also those that it refused. */
  connectionsSoFar(): Promise<number>;
  /** It lives, its connections stay, and it does nothing; until `resume`. */
  pause(): Promise<void>;
  resume(): void;
  /** Kills it; `start` brings it back on the same port. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** At the end. */
  stop(): Promise<void>;
}

/** `config`: text of a nats-server's configuration file, with users, permissions, bounds. */
export async function startNats(config = ""): Promise<TestNats> {
  const folder = await mkdtemp(join(tmpdir(), "tributary-test-nats-"));
  const file = join(folder, "nats.conf");
  await writeFile(file, config);
  const more = ["-c", file];
  let running: Running | undefined = await run(-1, more);
  const { port } = running;
  /** Its process id belongs to somebody else once it has ended. */
  const there = (): Running => {
    if (running === undefined) throw new Error("nats-server does not run");
    return running;
  };
  const monitor = async (path: string): Promise<unknown> =>
    (await fetch(`http://127.0.0.1:${there().monitorPort}/${path}`)).json();
  const kill = async () => {
    await running?.kill();
    running = undefined;
  };
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    async subscriptions() {
      type Answer = { connections: { subscriptions_list?: string[] }[] };
      const { connections } = (await monitor("connz?subs=1")) as Answer;
      return connections.flatMap((connection) => connection.subscriptions_list ?? []);
    },
    async connectionsSoFar() {
      return ((await monitor("varz")) as { total_connections: number }).total_connections;
    },
    async pause() {
      const { pid } = there();
      process.kill(pid, "SIGSTOP");
      // The signal takes its time, in which answers still come.
      await until(async () => expect(await stateOf(pid)).toMatch(/^T/));
    },
    resume: () => void process.kill(there().pid, "SIGCONT"),
    kill,
    async start() {
      running = await run(port, more);
    },
    async stop() {
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

const stateOf = async (pid: number): Promise<string> =>
  (await promisify(execFile)("ps", ["-o", "stat=", "-p", String(pid)])).stdout.trim();

interface Running {
  readonly pid: number;
  readonly port: number;
  readonly monitorPort: number;
  kill(): Promise<void>;
}

/** Kills it when its input ends. */
const keeper = '"$@" & pid=$!; echo "pid $pid"; read -r _; kill -9 $pid; wait $pid';

async function run(port: number, more: readonly string[]): Promise<Running> {
  const { path } = natsServer;
  if (path === undefined) throw new Error(natsServer.missing);
  const args = ["-a", "127.0.0.1", "-p", String(port), "-m", "-1", ...more];
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
  let monitorPort = 0;
  const reader = createInterface({ input: shell.stdout });
  for await (const line of reader) {
    lines.push(line);
    pid = Number(/^pid (\d+)/.exec(line)?.[1] ?? pid);
    listening = Number(/client connections on 127\.0\.0\.1:(\d+)/.exec(line)?.[1] ?? listening);
    monitorPort = Number(/http monitor on 127\.0\.0\.1:(\d+)/.exec(line)?.[1] ?? monitorPort);
    if (/Server is ready/.test(line)) {
      shell.stdout.resume();
      return { pid, port: listening, monitorPort, kill };
    }
    if (/\[FTL\]|exited/.test(line)) break;
  }
  await kill();
  throw new Error(`nats-server did not start:\n${lines.join("\n")}`);
}
