/** The command line as a real process, as people and programs start it. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { until } from "../support/until.ts";

const main = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Of stdout, one object a line. */
  readonly objects: readonly Record<string, unknown>[];
}

export interface RunOptions {
  /** The only settings there are, beside what any process needs. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  readonly input?: string;
}

/** A process under way. */
export class Running {
  readonly child: ChildProcessWithoutNullStreams;
  stdout = "";
  stderr = "";
  readonly #ended: Promise<number | null>;

  constructor(args: readonly string[], { env = {}, cwd, input }: RunOptions) {
    const { PATH, HOME } = process.env;
    this.child = spawn(process.execPath, [main, ...args], {
      env: { PATH, HOME, ...env },
      ...(cwd === undefined ? {} : { cwd }),
    });
    this.child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    this.child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    this.#ended = new Promise((resolve) => this.child.on("close", resolve));
    this.child.stdin.on("error", () => {}); // it may end before it has read everything
    if (input !== undefined) this.child.stdin.end(input);
  }

  /** Waits until what was printed matches. */
  async prints(pattern: RegExp, on: "stdout" | "stderr" = "stdout"): Promise<RegExpExecArray> {
    return until(() => {
      const match = pattern.exec(this[on]);
      if (match === null) {
        throw new Error(`${pattern} is not in ${on}: ${this[on]}\nstderr: ${this.stderr}`);
      }
      return match;
    }, 30_000);
  }

  async ended(): Promise<Finished> {
    const code = await this.#ended;
    const { stdout, stderr } = this;
    return {
      code,
      stdout,
      stderr,
      get objects() {
        return stdout
          .split("\n")
          .filter((line) => line !== "")
          .map((line) => JSON.parse(line));
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.#ended;
  }
}

export const start = (args: readonly string[], options: RunOptions = {}) => new Running(args, options);

export const run = (args: readonly string[], options: RunOptions = {}): Promise<Finished> =>
  new Running(args, { input: "", ...options }).ended();
