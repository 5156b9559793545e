/**
 * A fresh child process with a role. Every call has a limit in time; a child that is late, or ends by itself, fails the call
 * with the last it wrote to stderr. `stop` always ends it.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { nodeFlags } from "../../cli/node-flags.ts";
import type { Answer, Builtins, Call } from "./child.ts";
import type { MethodsOf, OptionsOf, RoleName } from "./roles.ts";

const file = fileURLToPath(new URL("./child.ts", import.meta.url));
/** Longest time of one call, ms: three measuring phases of the longest there may be, and what comes after them. */
const callLimitMs = 240_000;
const closeLimitMs = 10_000;
const stderrKept = 4000;

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class Child<R extends RoleName> {
  readonly role: R;
  readonly #process: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  #stderr = "";

  private constructor(role: R) {
    this.role = role;
    const { PATH, HOME } = process.env;
    this.#process = fork(file, [], {
      // All of them as our server is started, so that none has the better collector.
      execArgv: ["--expose-gc", ...nodeFlags],
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      // As the command line does: compiled code is kept, and the compiler's memory is not part of the server's.
      env: { PATH, HOME, NODE_COMPILE_CACHE: join(tmpdir(), "node-compile-cache") },
    });
    this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-stderrKept);
    });
    this.#process.on("message", (answer: Answer) => {
      const pending = this.#pending.get(answer.id);
      this.#pending.delete(answer.id);
      if ("error" in answer) pending?.reject(new Error(`${this.role}: ${answer.error}`));
      else pending?.resolve(answer.value);
    });
    this.#process.on("error", (error) => this.#failAll(error.message));
    this.#process.on("exit", (code, signal) => this.#failAll(`ended (${code ?? signal})`));
  }

  static async spawn<R extends RoleName>(role: R, options: OptionsOf<R>): Promise<Child<R>> {
    const child = new Child(role);
    try {
      await child.own("open", role, options);
    } catch (error) {
      await child.stop();
      throw error;
    }
    return child;
  }

  call<K extends keyof MethodsOf<R> & string>(
    method: K,
    ...args: MethodsOf<R>[K] extends (...args: infer A) => unknown ? A : never
  ): MethodsOf<R>[K] extends (...args: never[]) => infer V ? V : never {
    return this.#request("role", method, args) as never;
  }

  own<K extends keyof Builtins>(method: K, ...args: Parameters<Builtins[K]>): ReturnType<Builtins[K]> {
    return this.#request("child", method, args) as ReturnType<Builtins[K]>;
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const gone = once(this.#process, "exit");
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), closeLimitMs);
    try {
      await this.own("close").catch(() => this.#process.kill("SIGKILL"));
      await gone;
    } finally {
      clearTimeout(timer);
    }
  }

  #request(of: Call["of"], method: string, args: readonly unknown[]): Promise<unknown> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(this.#failure(`${method} did not answer within ${callLimitMs / 1000} s`));
      }, callLimitMs);
      const settle = (act: () => void) => {
        clearTimeout(timer);
        act();
      };
      this.#pending.set(id, {
        resolve: (value) => settle(() => resolve(value)),
        reject: (error) => settle(() => reject(error)),
      });
      const call: Call = { id, of, method, args };
      this.#process.send(call, (error) => {
        if (error !== null) this.#pending.get(id)?.reject(this.#failure(error.message));
      });
    });
  }

  #failAll(why: string): void {
    for (const { reject } of this.#pending.values()) reject(this.#failure(why));
    this.#pending.clear();
  }

  #failure(why: string): Error {
    return new Error(`${this.role}: ${why}${this.#stderr === "" ? "" : `\n${this.#stderr}`}`);
  }
}
