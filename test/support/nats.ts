/** A real nats-server for tests: on a free port, on this machine only, and gone with the tests, however they end. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { spawnKept } from "./kept-process.ts";
import { findNatsServer } from "./tools.ts";
import { until } from "./until.ts";

export const natsServer = await findNatsServer();

export interface TestNats {
  readonly url: string;
  readonly port: number;
  /** Of the process; another one after `start`. */
  readonly pid: number;
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
  let folder: string | undefined;
  const more: string[] = [];
  if (config !== "") {
    folder = await mkdtemp(join(tmpdir(), "tributary-test-nats-"));
    await writeFile(join(folder, "nats.conf"), config);
    more.push("-c", join(folder, "nats.conf"));
  }
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
    get pid() {
      return there().pid;
    },
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
      await until(async () => {
        const state = await stateOf(pid);
        if (!state.startsWith("T")) throw new Error(`nats-server is in state ${state}`);
      });
    },
    resume: () => void process.kill(there().pid, "SIGCONT"),
    kill,
    async start() {
      running = await run(port, more);
    },
    async stop() {
      await kill();
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
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

async function run(port: number, more: readonly string[]): Promise<Running> {
  const { path } = natsServer;
  if (path === undefined) throw new Error(natsServer.missing);
  const lines: string[] = [];
  const ready = Promise.withResolvers<void>();
  const command = [path, "-a", "127.0.0.1", "-p", String(port), "-m", "-1", ...more] as const;
  const { pid, kill, exited } = await spawnKept([...command], process.env, (line) => {
    lines.push(line);
    if (/Server is ready/.test(line)) ready.resolve();
  });
  void exited.then(() => ready.reject(new Error(`nats-server ended:\n${lines.join("\n")}`)));
  ready.promise.catch(() => {});
  await ready.promise;
  const portOf = (what: RegExp) => Number(lines.map((line) => what.exec(line)?.[1]).find(Boolean));
  return {
    pid,
    port: portOf(/client connections on 127\.0\.0\.1:(\d+)/),
    monitorPort: portOf(/http monitor on 127\.0\.0\.1:(\d+)/),
    kill,
  };
}
