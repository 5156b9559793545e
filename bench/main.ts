/**
 * `npm run bench`: measures Tributary and, in the same run, what it is compared with. See docs/benchmarks.md for what each
 * figure means and what is assumed.
 */
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, InvalidArgumentError, Option } from "commander";
import { withExamples } from "../cli/help.ts";
import type { Size } from "./cases/case.ts";
import { cases } from "./cases/cases.ts";
import { startDatabases } from "./databases.ts";
import { readEnvironment } from "./environment.ts";
import { leftOut, planRuns } from "./plan.ts";
import { isForGoals } from "./report/goals.ts";
import { printReport } from "./report/print.ts";
import { readResults } from "./report/result.ts";
import { runAll } from "./run-all.ts";

interface Options {
  readonly cases: readonly string[];
  readonly rounds?: number;
  readonly seconds?: number;
  readonly out: string;
  readonly quick?: true;
  readonly smoke?: true;
  readonly markdown?: true;
  readonly profile?: true;
  readonly goals?: true;
  readonly plots?: true;
  readonly from?: string;
  readonly stored?: number;
}

/** What each size runs if nothing else is asked for. */
const defaults: Readonly<Record<Size, { readonly rounds: number; readonly seconds: number }>> = {
  full: { rounds: 3, seconds: 1.5 },
  quick: { rounds: 1, seconds: 1 },
  // Long enough for a first answer of code that nobody has compiled yet.
  smoke: { rounds: 1, seconds: 1 },
};

const names = cases.map(({ name }) => name.replaceAll(" ", "-"));
const today = new Date().toISOString().slice(0, 10);
const results = fileURLToPath(new URL("./results/", import.meta.url));

function toCases(text: string): string[] {
  const chosen = text.split(",");
  const unknown = chosen.filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    throw new InvalidArgumentError(`No such case: ${unknown.join(", ")}. There are ${names.join(", ")}.`);
  }
  return chosen;
}

const toNumber = (least: number, most: number, whole: boolean) => (text: string) => {
  const value = Number(text);
  if (!(value >= least && value <= most) || (whole && !Number.isInteger(value))) {
    throw new InvalidArgumentError(
      `It must be ${whole ? "a whole number" : "a number"} from ${least} to ${most}.`,
    );
  }
  return value;
};

const note = (line: string) => void process.stderr.write(`${line}\n`);

async function bench(options: Options): Promise<void> {
  const size: Size = options.smoke ? "smoke" : options.quick ? "quick" : "full";
  const { markdown = false, goals = false, plots = false } = options;
  const report = { markdown, goals, plots, note };
  if (options.from !== undefined) return printReport(readResults(options.from), report);

  const rounds = options.rounds ?? defaults[size].rounds;
  const seconds = options.seconds ?? defaults[size].seconds;
  const chosen = cases.filter((_, i) => options.cases.includes(names[i] ?? ""));
  const all = planRuns(chosen, size, rounds, { stored: options.stored });
  const plan = goals ? all.filter((run) => isForGoals(run.case.name, run.point, run.contender.name)) : all;
  for (const line of new Set(chosen.flatMap((one) => leftOut(one, size)))) note(line);
  note(`${plan.length} runs, ${rounds} rounds of ${seconds} s each; starting Postgres`);
  const databases = await startDatabases();
  try {
    const environment = readEnvironment(databases.postgres);
    const run = { seconds, out: options.out, profile: options.profile ?? false, note };
    const measured = await runAll(plan, databases, environment, run);
    printReport(measured, { ...report, size });
    note(`every run: ${relative(process.cwd(), options.out)}`);
    const failed = measured.filter(({ error }) => error !== undefined).length;
    if (failed > 0) {
      note(`${failed} of ${measured.length} runs failed`);
      process.exitCode = 1;
    }
  } finally {
    await databases.stop();
  }
}

const program = new Command("bench")
  .description(
    "measure Tributary and its baselines on this machine; the table goes to stdout, progress to stderr",
  )
  .option("--cases <names>", `some of ${names.join(", ")}`, toCases, names)
  .option(
    "--rounds <n>",
    `rounds, of which the median counts (default: ${defaults.full.rounds})`,
    toNumber(1, 100, true),
  )
  .option(
    "--seconds <s>",
    `length of each measuring phase (default: ${defaults.full.seconds})`,
    toNumber(0.05, 60, false),
  )
  .addOption(
    new Option("--out <file>", "where each run is added as a line of JSON").default(
      join(results, `${today}.ndjson`),
      "bench/results/<date>.ndjson",
    ),
  )
  .addOption(
    new Option("--quick", "fewer points, one round of one second: about five minutes").conflicts("smoke"),
  )
  .option("--smoke", "only see that it works: the figures mean nothing")
  .option(
    "--goals",
    "run what the figures to reach need, and nothing else; tell of each whether it is reached",
  )
  .option("--plots", "also write the pictures of docs/benchmarks.md to docs/images")
  .option(
    "--from <file>",
    "measure nothing: tables, --goals and --plots from results that were kept by --out",
  )
  .option(
    "--stored <n>",
    "events of the longest stored stream in the case growth (10 million take minutes and 10 GB)",
    toNumber(1000, 20_000_000, true),
  )
  .option("--markdown", "print the tables as Markdown")
  .option(
    "--profile",
    "save a CPU profile of each server process beside the results, and print its top functions",
  )
  .action(bench);
withExamples(
  program,
  ["npm run bench", "everything, about an hour, on a machine that does nothing else"],
  ["npm run bench -- --quick", "a look"],
  ["npm run bench -- --cases replay --profile", "where the server's time goes in a replay"],
  ["npm run bench -- --goals --stored 10000000", "the figures to reach, and whether they are"],
  ["npm run bench -- --from bench/results/my.ndjson --plots", "pictures from results that are there"],
  ["npm run -s bench -- --markdown > tables.md", "tables for docs/benchmarks.md"],
);

// The watchdog of Postgres and the children notice by themselves that this process is gone.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
await program.parseAsync();
