/**
 * What a run has at hand. Everything that it opens is its own and fresh, and is closed when it ends, in reverse order. The
 * processes are told apart: the server's CPU and memory are measured by the server, those of the loads by the loads.
 */
import type { Databases, StoredStream } from "./databases.ts";
import { databaseCpuUs } from "./measure/database-cpu.ts";
import type { CpuProfile } from "./measure/profiler.ts";
import type { Usage } from "./measure/usage.ts";
import type { OptionsOf, RoleName } from "./processes/roles.ts";
import { Child } from "./processes/spawn.ts";
import type { Figures } from "./report/figures.ts";

/** What every child process can be asked, whatever its role. */
export type Measurable = Pick<Child<RoleName>, "own">;

export interface Used {
  readonly seconds: number;
  /** Undefined where there is no server beside Postgres. */
  readonly server: Usage | undefined;
  /** Transactions that wrote. */
  readonly commits: number;
  readonly figures: Figures;
}

export interface BenchOptions {
  /** Length of a measuring phase. */
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** Given a profile of the server's measuring phase, if one is wished. */
  readonly onProfile?: ((profile: CpuProfile) => Promise<void>) | undefined;
}

export class Bench {
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly #databases: Databases;
  readonly #options: BenchOptions;
  readonly #closers: (() => Promise<void>)[] = [];
  /** Of a run without one, what Postgres does in the background is no figure. */
  #hasDatabase = false;

  constructor(databases: Databases, options: BenchOptions) {
    this.#databases = databases;
    this.#options = options;
    this.seconds = options.seconds;
    this.warmUpSeconds = options.warmUpSeconds;
  }

  async database(template?: string): Promise<string> {
    const database = await this.#databases.fresh(template);
    this.#hasDatabase = true;
    this.#closers.push(() => database.close());
    return database.url;
  }

  stored(events: number, payloadBytes: number): Promise<StoredStream> {
    return this.#databases.stored(events, payloadBytes);
  }

  async spawn<R extends RoleName>(role: R, options: OptionsOf<R>): Promise<Child<R>> {
    const child = await Child.spawn(role, options);
    this.#closers.push(() => child.stop());
    return child;
  }

  /**
   * Runs `act` between the beginning and the end of a measuring phase of all these processes and of Postgres. Several
   * servers are one: their CPU and memory are added up, and the profile is that of the first.
   */
  async measure<T>(
    server: Measurable | readonly Measurable[] | undefined,
    loads: readonly Measurable[],
    act: () => Promise<T>,
  ): Promise<{ readonly result: T; readonly used: Used }> {
    const { onProfile } = this.#options;
    const postmaster = this.#hasDatabase ? this.#databases.postmaster : undefined;
    const commitsBefore = await this.#databases.commits();
    const databaseBefore = await databaseCpuUs(postmaster);
    await Promise.all(loads.map((load) => load.own("begin", false)));
    const servers = server === undefined ? [] : [server].flat();
    await Promise.all(servers.map((each, i) => each.own("begin", i === 0 && onProfile !== undefined)));
    const began = performance.now();
    const result = await act();
    const seconds = (performance.now() - began) / 1000;
    const ended = await Promise.all(servers.map((each) => each.own("end")));
    const loadUsages = await Promise.all(loads.map((load) => load.own("end")));
    const databaseAfter = await databaseCpuUs(postmaster);
    const commits = this.#hasDatabase ? (await this.#databases.commits()) - commitsBefore : 0;
    const profile = ended[0]?.profile;
    if (profile !== undefined) await onProfile?.(profile);
    const usage = ended.length === 0 ? undefined : addUp(ended.map((each) => each.usage));
    const percent = (us: number, of: number) => (us / of / 1e6) * 100;
    const figures: Figures = {
      ...(usage === undefined
        ? {}
        : {
            serverCpuPercent: percent(usage.cpuUs, usage.seconds),
            rssMb: usage.rssPeak / 2 ** 20,
          }),
      ...(databaseBefore === undefined || databaseAfter === undefined
        ? {}
        : { databaseCpuPercent: percent(Math.max(0, databaseAfter - databaseBefore), seconds) }),
      loadCpuPercent: loadUsages.reduce((sum, { usage }) => sum + percent(usage.cpuUs, usage.seconds), 0),
    };
    return { result, used: { seconds, server: usage, commits, figures } };
  }

  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const close of this.#closers.splice(0).toReversed()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, "closing a run failed");
  }
}

function addUp(usages: readonly Usage[]): Usage {
  const sum = (of: (usage: Usage) => number) => usages.reduce((total, usage) => total + of(usage), 0);
  return {
    seconds: sum((usage) => usage.seconds) / usages.length,
    cpuUs: sum((usage) => usage.cpuUs),
    rssStart: sum((usage) => usage.rssStart),
    rssEnd: sum((usage) => usage.rssEnd),
    rssPeak: sum((usage) => usage.rssPeak),
  };
}
