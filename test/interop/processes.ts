/**
 * Clients that are programs. Each runs in a process group of its own: some are wrappers, and only the whole group's end is
 * the client's end.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";

export interface Ended {
  /** Exit code, or the signal that killed it. */
  readonly status: number | NodeJS.Signals | null;
  readonly stderr: string;
}

export async function runProgram(
  command: readonly [file: string, ...args: string[]],
  input: Uint8Array | string,
  onOutput: (bytes: Buffer) => void,
  signal: AbortSignal,
): Promise<Ended> {
  const [file, ...args] = command;
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"], detached: true });
  const kill = () => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGKILL");
  };
  signal.addEventListener("abort", kill, { once: true });
  if (signal.aborted) kill();
  let stderr = "";
  child.stderr.on("data", (bytes) => {
    stderr += bytes;
  });
  let failure: unknown;
  child.stdout.on("data", (bytes) => {
    try {
      onOutput(bytes);
    } catch (error) {
      failure ??= error;
      kill();
    }
  });
  child.stdin.on("error", () => {}); // it may end before it has read everything
  child.stdin.end(input);
  try {
    const [code, killedBy] = await once(child, "close");
    if (failure !== undefined) throw failure;
    return { status: code ?? killedBy, stderr };
  } finally {
    signal.removeEventListener("abort", kill);
  }
}
