/**
 * A process that is gone with this one, however this one ends, also by kill -9. Its parent is a shell that waits on a pipe
 * which only this process holds, and then kills it; so it also ends when it is paused. It has a session of its own: Ctrl-C
 * does not reach it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export interface KeptProcess {
  readonly pid: number;
  /** Its exit code; 128 and more for a signal. */
  readonly exited: Promise<number>;
  signal(signal: NodeJS.Signals): void;
  /** kill -9, and it is gone. */
  kill(): Promise<void>;
}

const keeper = `exec 3<&0
"$@" </dev/null 3<&- & pid=$!
echo "pid $pid"
{ read -r _ <&3; kill -9 $pid; } 2>/dev/null & reader=$!
wait $pid; code=$?
kill $reader
exit $code`;

/** `onLine` gets what it prints, on both outputs. */
export async function spawnKept(
  command: readonly [file: string, ...args: string[]],
  env: NodeJS.ProcessEnv,
  onLine: (line: string) => void,
): Promise<KeptProcess> {
  const shell = spawn("/bin/sh", ["-c", `{ ${keeper}\n} 2>&1`, "sh", ...command], {
    detached: true,
    env,
    stdio: ["pipe", "pipe", "ignore"],
  });
  shell.stdin.on("error", () => {}); // it has ended already
  let ended = false;
  const exited = once(shell, "exit").then(([code]) => {
    ended = true;
    return Number(code ?? 1);
  });
  const first = Promise.withResolvers<number>();
  void exited.then(() => first.reject(new Error(`${command[0]} did not start`)));
  let pid = 0;
  createInterface({ input: shell.stdout }).on("line", (line) => {
    if (pid > 0) return onLine(line);
    pid = Number(/^pid (\d+)/.exec(line)?.[1]);
    first.resolve(pid);
  });
  await first.promise;
  return {
    pid,
    exited,
    signal(signal) {
      // Its number belongs to somebody else once it has ended.
      if (!ended) process.kill(pid, signal);
    },
    async kill() {
      shell.stdin.end();
      await exited;
    },
  };
}
