/** `npm run cluster`, as people use it: what it prints is run as it stands; then it is mistreated, and ended. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { describeWith } from "../support/describe-with.ts";
import { natsServer } from "../support/nats.ts";
import { until } from "../support/until.ts";

interface Running {
  readonly child: ChildProcess;
  readonly output: () => string;
}

/** In a group of its own, which is killed with its test. */
function start(command: string, ...args: string[]): Running {
  const child = spawn(command, args, { detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (bytes: Buffer) => {
      output += bytes.toString();
    });
  onTestFinished(() => {
    try {
      process.kill(-(child.pid ?? 0), "SIGKILL");
    } catch {
      // It has ended.
    }
  });
  return { child, output: () => output };
}

const prints = (running: Running, pattern: RegExp): Promise<RegExpExecArray> =>
  until(() => {
    const match = pattern.exec(running.output());
    if (match === null) throw new Error(`${pattern} is not in: ${running.output()}`);
    return match;
  }, 60_000);

const isThere = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

/** Those of the process and of all below it. */
async function descendants(pid: number): Promise<number[]> {
  const { stdout } = await promisify(execFile)("ps", ["-e", "-o", "pid=,ppid="]);
  const pairs = stdout
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  const found = [pid];
  for (const parent of found)
    found.push(...pairs.filter(([, ppid]) => ppid === parent).map(([child]) => child as number));
  return found;
}

/** Where its Postgres keeps the data, among the arguments of its processes. */
async function dataFolder(pids: readonly number[]): Promise<string> {
  const { stdout } = await promisify(execFile)("ps", ["-o", "args=", "-p", pids.join()]);
  const folder = /\S+\/tributary-test-cluster-\w+/.exec(stdout)?.[0];
  if (folder === undefined) throw new Error(`no data folder in:\n${stdout}`);
  return folder;
}

describeWith(natsServer, "npm run cluster", () => {
  test("serves at three instances, brings a killed one back, drains at Ctrl-C and leaves nothing behind", {
    timeout: 120_000,
  }, async () => {
    const { scripts } = JSON.parse(await readFile("package.json", "utf8"));
    expect(scripts.cluster).toBe("node scripts/cluster.ts");
    const cluster = start(process.execPath, "scripts/cluster.ts", "--port", "0");
    await prints(cluster, /Ctrl-C drains/);
    const lines = cluster
      .output()
      .split("\n")
      .map((line) => line.trim());
    const command = (what: RegExp) => lines.find((line) => what.test(line)) ?? "";
    const shell = (line: string) => ["-euo", "pipefail", "-c", `${command(/^export/)}; ${line}`];
    await promisify(execFile)("bash", shell(command(/workflow create/)));
    const tail = start("bash", ...shell(command(/ tail /)));
    const publish = () => promisify(execFile)("bash", shell(command(/ publish /)));
    await publish();
    await prints(tail, /Hello from another instance/);

    const [, kill = "", victim = ""] = /(kill -9 (\d+))/.exec(command(/kill -9/)) ?? [];
    await promisify(execFile)("bash", ["-c", kill]);
    await prints(
      cluster,
      new RegExp(`instance 2 \\(process ${victim}\\) was killed by signal 9; it is started again`),
    );
    await prints(cluster, /instance 2 is back at/);
    await publish();
    await prints(tail, /Hello from another instance[\s\S]*Hello from another instance/);
    tail.child.kill("SIGINT");

    const all = await descendants(cluster.child.pid ?? 0);
    const folder = await dataFolder(all);
    expect(existsSync(folder)).toBe(true);
    expect(all.length).toBeGreaterThan(10);
    const exit = once(cluster.child, "exit");
    cluster.child.kill("SIGINT");
    expect((await exit)[0], cluster.output()).toBe(0);
    await until(() => expect(all.filter(isThere)).toEqual([]));
    expect(existsSync(folder)).toBe(false);
  });

  test("when it is killed itself, nothing is left of it", { timeout: 120_000 }, async () => {
    const cluster = start(process.execPath, "scripts/cluster.ts", "--port", "0");
    await prints(cluster, /Ctrl-C drains/);
    const all = await descendants(cluster.child.pid ?? 0);
    const folder = await dataFolder(all);
    expect(existsSync(folder)).toBe(true);
    cluster.child.kill("SIGKILL");
    await until(() => expect(all.filter(isThere)).toEqual([]), 30_000);
    await until(() => expect(existsSync(folder)).toBe(false), 30_000);
  });
});
