/**
 * A server as a reader of the docs starts it: `npm start`, on a free port and a folder of its own. Scripts from the docs
 * run against it as they stand, but for the address and the folder.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

export interface ReadersServer extends AsyncDisposable {
  readonly url: string;
  /** What the script prints; throws if a command of it fails. */
  run(script: string): Promise<string>;
  /** Starts a script in the background; it is ended with the server. */
  start(script: string): RunningScript;
}

export interface RunningScript {
  /** What it has printed so far. */
  readonly output: string;
  /** Its exit code. */
  readonly ended: Promise<number | null>;
}

export async function npmStart(name: string): Promise<ReadersServer> {
  const folder = await mkdtemp(join(tmpdir(), `tributary ${name} `));
  const env: NodeJS.ProcessEnv = { ...process.env, DATA_DIR: folder, PORT: "0", LOG_LEVEL: "warn" };
  for (const name of ["TRIBUTARY_API_KEY", "TRIBUTARY_ADMIN_KEY", "DATABASE_URL"]) delete env[name];
  const server = spawn("npm", ["start"], { env, stdio: ["ignore", "pipe", "inherit"], detached: true });
  const scripts: ChildProcess[] = [];
  const stop = async () => {
    for (const child of [...scripts, server]) await endGroup(child);
    await rm(folder, { recursive: true, force: true });
  };
  let url = "";
  for await (const line of createInterface({ input: server.stdout })) {
    url = /http:\/\/\S+/.exec(line)?.[0] ?? "";
    if (url !== "") break;
  }
  server.stdout.resume();
  if (url === "") {
    await stop();
    throw new Error("npm start ended before it was ready");
  }
  const adapted = (script: string) =>
    script.replaceAll("http://127.0.0.1:8080", url).replaceAll(".data/dev-key", `"${folder}/dev-key"`);
  const shell = (script: string) => ["-euo", "pipefail", "-c", adapted(script)];
  const options = { env: { ...env, TRIBUTARY_URL: url } };
  return {
    url,
    async run(script) {
      const { stdout } = await promisify(execFile)("bash", shell(script), {
        ...options,
        maxBuffer: 10_000_000,
      });
      return stdout;
    },
    start(script) {
      const child = spawn("bash", shell(script), {
        ...options,
        stdio: ["ignore", "pipe", "pipe"],
        detached: true,
      });
      scripts.push(child);
      let output = "";
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
      const ended = once(child, "close").then(([code]) => code as number | null);
      return {
        get output() {
          return output;
        },
        ended,
      };
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** npm is gone at once; what it started holds the output open until it has tidied up. */
async function endGroup(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const closed = once(child, "close");
  process.kill(-child.pid, "SIGTERM");
  await closed;
}
