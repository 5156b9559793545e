/**
 * The main file of every child process: opens the role it is told, answers calls over IPC, and reports its own CPU and
 * memory over a measuring phase. It ends when it is told to, and whenever the parent is gone.
 */
import { type CpuProfile, Profiler } from "../measure/profiler.ts";
import { type SettledMemory, settledMemory, type Usage, UsageMeter } from "../measure/usage.ts";
import type { Methods, Role } from "./role.ts";
import { type RoleName, roles } from "./roles.ts";

/** What every child can do beside its role. */
export interface Builtins {
  open(role: RoleName, options: unknown): Promise<void>;
  begin(profile: boolean): Promise<void>;
  end(): Promise<{ readonly usage: Usage; readonly profile: CpuProfile | undefined }>;
  settledMemory(): Promise<SettledMemory>;
  close(): Promise<void>;
}

export interface Call {
  readonly id: number;
  /** Of the child itself, or of its role. */
  readonly of: "child" | "role";
  readonly method: string;
  readonly args: readonly unknown[];
}

export type Answer = { readonly id: number } & ({ readonly value: unknown } | { readonly error: string });

let role: Role<Methods> | undefined;
let meter: UsageMeter | undefined;
let profiler: Profiler | undefined;

const builtins: Builtins = {
  async open(name, options) {
    const { open } = (await roles[name]()) as { open: (options: unknown) => Promise<Role<Methods>> };
    role = await open(options);
  },
  async begin(profile) {
    if (profile) {
      profiler = new Profiler();
      await profiler.start();
    }
    meter = new UsageMeter();
  },
  async end() {
    if (meter === undefined) throw new Error("end without begin");
    const usage = meter.end();
    const profile = await profiler?.stop();
    meter = undefined;
    profiler = undefined;
    return { usage, profile };
  },
  settledMemory,
  async close() {
    await role?.close?.();
  },
};

async function answer({ id, of, method, args }: Call): Promise<Answer> {
  try {
    const methods = (of === "child" ? builtins : role?.methods) as Record<string, unknown> | undefined;
    const call = methods?.[method] as ((...args: readonly unknown[]) => Promise<unknown>) | undefined;
    if (call === undefined) throw new Error(`no such method: ${method}`);
    return { id, value: await call(...args) };
  } catch (error) {
    return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

if (process.send !== undefined) {
  process.on("message", (call: Call) => {
    void answer(call).then((message) => {
      process.send?.(message, () => {
        if (call.of === "child" && call.method === "close") process.exit(0);
      });
    });
  });
  process.on("disconnect", () => process.exit(0));
  // Ctrl-C reaches the whole group; the parent decides.
  process.on("SIGINT", () => {});
}
