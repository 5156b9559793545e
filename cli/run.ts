/**
 * Runs one command line to its exit code: 0 well, 1 failed, 2 wrong usage, 130 Ctrl-C. Whatever is thrown ends up here and
 * becomes one or two lines on stderr, never a stack trace.
 */
import { Command, CommanderError } from "commander";
import packageJson from "../package.json" with { type: "json" };
import { Cli } from "./cli.ts";
import { addAfterRestore } from "./commands/after-restore.ts";
import { addDemo } from "./commands/demo.ts";
import { addEvents } from "./commands/events.ts";
import { addKey } from "./commands/key/key.ts";
import { addMigrate } from "./commands/migrate.ts";
import { addPublish } from "./commands/publish.ts";
import { addServe } from "./commands/serve.ts";
import { addStats } from "./commands/stats.ts";
import { addTail } from "./commands/tail.ts";
import { addTenant } from "./commands/tenant/tenant.ts";
import { addToken } from "./commands/token/token.ts";
import { addWorkflow } from "./commands/workflow/workflow.ts";
import { readEnvironment } from "./environment.ts";
import { describeFailure } from "./failure.ts";
import { withExamples } from "./help.ts";
import { Interrupts } from "./interrupts.ts";
import { Output } from "./output/output.ts";

export async function run(process: NodeJS.Process): Promise<void> {
  const environment = readEnvironment(process.env);
  const interrupts = new Interrupts(process);
  const output = new Output(process, environment, () => interrupts.readerGone());
  const cli = new Cli({ environment, output, interrupts, stdin: process.stdin });
  let exitCode: number;
  try {
    await createProgram(cli).parseAsync(process.argv);
    exitCode = cli.exitCode;
  } catch (error) {
    exitCode = report(error, cli);
  } finally {
    cli.close();
  }
  await output.flush();
  process.exit(exitCode);
}

function createProgram(cli: Cli): Command {
  const program = new Command("tributary")
    .description("Live, complete and ordered streams of what workflows and agents produce.")
    .version(packageJson.version)
    .option("--json", "print one JSON object a line, for programs")
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError("(add --help to see how it is used)")
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "✖ ")) })
    .exitOverride()
    .hook("preAction", (_, command) => {
      cli.output.json = command.optsWithGlobals()["json"] === true;
    });
  for (const add of [
    addServe,
    addDemo,
    addTail,
    addPublish,
    addWorkflow,
    addTenant,
    addKey,
    addToken,
    addStats,
    addEvents,
    addMigrate,
    addAfterRestore,
  ]) {
    add(program, cli);
  }
  withExamples(
    program,
    ["npm start", "a server, with a database of its own"],
    ["tributary demo", "a workflow tree, watched live"],
    ["tributary workflow create report", "registers a workflow"],
    ["tributary publish <workflow-id> writer 'Hello'", "writes to it"],
    ["tributary tail <workflow-id>", "watches it until it ends"],
  );
  return program.addHelpText(
    "after",
    `
Environment:
  TRIBUTARY_URL      the server (default http://127.0.0.1:8080, with PORT if that is set)
  TRIBUTARY_API_KEY  key of a tenant, or the admin key for tenants and keys; not needed beside a server
                     in development mode, whose key is found in its data folder (DATA_DIR, default .data)
  NO_COLOR           no colours

Exit codes: 0 well, 1 failed, 2 wrong usage, 130 Ctrl-C.`,
  );
}

function report(error: unknown, cli: Cli): number {
  // Commander has printed what it had to say.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const failure = describeFailure(error, cli);
  cli.output.fail(failure);
  return failure.exitCode;
}
