/** Runs a plan, one run after the other, tells of each on stderr, and keeps each result at once. A failed run stops nothing. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Bench } from "./bench.ts";
import type { Databases } from "./databases.ts";
import type { Environment } from "./environment.ts";
import type { CpuProfile } from "./measure/profiler.ts";
import type { PlannedRun } from "./plan.ts";
import { type Figures, figures as known } from "./report/figures.ts";
import { appendResult, type Result } from "./report/result.ts";
import { topFunctions } from "./report/top-functions.ts";

export interface RunOptions {
  readonly seconds: number;
  readonly out: string;
  readonly profile: boolean;
  readonly note: (line: string) => void;
}

export async function runAll(
  plan: readonly PlannedRun[],
  databases: Databases,
  environment: Environment,
  options: RunOptions,
): Promise<Result[]> {
  const results: Result[] = [];
  for (const [i, run] of plan.entries()) {
    const name = `${run.case.name} · ${run.point} · ${run.contender.name}`;
    const began = performance.now();
    const outcome = await runOne(run, databases, options);
    const took = ((performance.now() - began) / 1000).toFixed(1);
    options.note(
      `[${i + 1}/${plan.length}] round ${run.round} · ${name}: ${toWords(run, outcome)} (${took} s)`,
    );
    const result: Result = {
      case: run.case.name,
      point: run.point,
      contender: run.contender.name,
      round: run.round,
      seconds: options.seconds,
      ...outcome,
      date: new Date().toISOString(),
      environment,
    };
    appendResult(options.out, result);
    results.push(result);
  }
  return results;
}

type Outcome = Pick<Result, "figures" | "error">;

async function runOne(run: PlannedRun, databases: Databases, options: RunOptions): Promise<Outcome> {
  const bench = new Bench(databases, {
    seconds: options.seconds,
    warmUpSeconds: Math.min(1, options.seconds / 2),
    onProfile: options.profile ? (profile) => keepProfile(run, profile, options) : undefined,
  });
  try {
    return { figures: await run.contender.run(bench) };
  } catch (error) {
    return { figures: {}, error: error instanceof Error ? error.message : String(error) };
  } finally {
    await bench.close().catch((error: Error) => options.note(error.message));
  }
}

async function keepProfile(run: PlannedRun, profile: CpuProfile, { out, note }: RunOptions): Promise<void> {
  const words = [run.case.name, run.point, run.contender.name, `round ${run.round}`].join(" ");
  const file = join(dirname(out), `${words.replace(/[^a-z0-9]+/gi, "-")}.cpuprofile`);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify(profile));
  note(`${file}\n${topFunctions(profile)}`);
}

/** The first two figures of the table. */
function toWords(
  { case: { columns } }: PlannedRun,
  { figures, error }: { figures: Figures; error?: string },
): string {
  if (error !== undefined) return `FAILED: ${error}`;
  return columns
    .flatMap((name) => {
      const value = figures[name];
      return value === undefined ? [] : [`${value.toFixed(known[name].digits)} ${known[name].heading}`];
    })
    .slice(0, 2)
    .join(", ");
}
