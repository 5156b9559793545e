/**
 * `tributary serve`: runs a server until SIGTERM or Ctrl-C, which drain it. Prints one line with the address when it is
 * ready, and nothing before; in development mode also the key of the tenant `dev`, this once.
 */
import type { Command } from "commander";
import { type Config, settings } from "../../server/config.ts";
import type { RunningServer } from "../../server/main.ts";
import type { Cli } from "../cli.ts";
import { CommandFailure } from "../failure.ts";
import { withExamples } from "../help.ts";
import { wrap } from "../output/width.ts";
import { explainStart } from "../start-failure.ts";

export function addServe(program: Command, cli: Cli): void {
  const command = program
    .command("serve")
    .description("run a server; without any setting one for development, with a database of its own")
    .action(() => serve(cli));
  withExamples(
    command,
    ["tributary serve", "development: on this machine only, data in .data"],
    ["PORT=9000 LOG_LEVEL=debug tributary serve", "elsewhere, and talkative"],
    ["DATABASE_URL=postgres://… TRIBUTARY_ADMIN_KEY=… HOST=0.0.0.0 tributary serve", "production"],
  );
  command.addHelpText(
    "after",
    () =>
      `\nSettings, all from the environment:\n${describeSettings(cli)}\n\nIn development mode on a terminal the default of LOG_LEVEL is warn.`,
  );
}

async function serve(cli: Cli): Promise<void> {
  const stop = cli.interrupts.take();
  const server = await start(cli);
  try {
    if (!stop.aborted) announce(cli, server);
    const lost = await Promise.race([aborted(stop), server.lost]);
    if (lost !== undefined) {
      throw new CommandFailure(`The server cannot go on: ${lost.message}`, "Start it again with npm start.");
    }
  } finally {
    await server.close();
  }
}

async function start(cli: Cli): Promise<RunningServer> {
  const { readConfig } = await import("../../server/config.ts");
  const { startServer } = await import("../../server/main.ts");
  let config: Config | undefined;
  try {
    const { serverSettings: given } = cli.environment;
    config = readConfig(given);
    if (given["LOG_LEVEL"]) return await startServer(config);
    return await startServer({ ...config, LOG_LEVEL: standardLogLevel(config, cli) });
  } catch (error) {
    throw await explainStart(error, config);
  }
}

/** Somebody who tries it out on a terminal is not greeted with JSON. */
const standardLogLevel = (config: Config, { output }: Cli) =>
  config.developmentMode && output.notesOnTerminal && !output.json ? "warn" : config.LOG_LEVEL;

function announce({ output }: Cli, { url, devKey }: RunningServer): void {
  if (output.json) {
    output.object({ kind: "ready", url, ...(devKey === undefined ? {} : { devKey }) });
    return;
  }
  const { bold, green, cyan, dim } = output.paint;
  output.print(`${green("Tributary is ready:")} ${bold(url)}`);
  if (devKey === undefined) return;
  output.print(`Key of the tenant dev: ${cyan(devKey)}`);
  output.print(dim("Try it in a browser, or in another terminal: npm run demo"));
}

/** Each setting with its meaning, then what is allowed, in the width there is. */
function describeSettings({ output }: Cli): string {
  const indent = 2 + Math.max(...Object.keys(settings).map((name) => name.length)) + 2;
  return Object.entries(settings)
    .flatMap(([name, { schema, about, allowed }]) => {
      const standard = schema.safeParse(undefined).data;
      const isShown = standard !== undefined && !Array.isArray(standard);
      const limits = `${allowed}${isShown ? ` (default ${standard})` : ""}`;
      const width = Math.min(output.columns, 110) - indent - 1;
      const lines = [...wrap(about, width), ...wrap(limits, width).map(output.paint.dim)];
      return lines.map((line, at) => `${`  ${at === 0 ? name : ""}`.padEnd(indent)}${line}`);
    })
    .join("\n");
}

function aborted(signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}
