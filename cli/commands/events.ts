/** `tributary events`: what happens in the service, from now on, until Ctrl-C. */
import type { Command } from "commander";
import {
  type SystemEvent,
  SystemEventSchema,
  SystemEventType,
  SystemEventTypeSchema,
} from "../../gen/tributary/v1/admin_service_pb.ts";
import type { Cli } from "../cli.ts";
import { withExamples } from "../help.ts";
import { keepCalling } from "../keep-calling.ts";
import { toList, toSystemEventType } from "../options.ts";
import type { Output } from "../output/output.ts";
import { nameOf, toPlain } from "../output/plain.ts";
import { toMoment } from "../output/time.ts";
import { cleanLine } from "../output/width.ts";

interface Options {
  readonly types?: readonly SystemEventType[];
  readonly tenant?: string;
}

export function addEvents(program: Command, cli: Cli): void {
  const command = program
    .command("events")
    .description("show what happens in the service: starts, drains, sessions, pressure, failures")
    .option(
      "--types <types>",
      "only these, separated by commas, like ERROR,WARNING",
      toList(toSystemEventType),
    )
    .option("--tenant <slug>", "only this tenant's (with the admin key)")
    .action(async (options: Options) => events(cli, options));
  withExamples(
    command,
    ["tributary events", "everything, with the admin key; with a tenant's key what concerns the tenant"],
    ["tributary events --types ERROR,WARNING,ENTRY_DROPPED --json", "what needs somebody, for a program"],
  );
}

async function events(cli: Cli, { types = [], tenant = "" }: Options): Promise<void> {
  const { admin } = await cli.client();
  const { output } = cli;
  const signal = cli.interrupts.take();
  const request = { types: [...types], tenantSlug: tenant };
  const open = (own: AbortSignal) => admin.streamSystemEvents(request, { signal: own });
  let live = false;
  for await (const { message } of keepCalling(output, open, signal)) {
    if (message.case === "event") show(output, message.value);
    else if (!live && !output.json) output.note("listening; stop with Ctrl-C");
    live = true;
  }
  if (cli.interrupts.exitCode !== undefined) cli.exitCode = cli.interrupts.exitCode;
}

function show(output: Output, event: SystemEvent): void {
  if (output.json) {
    output.object(toPlain(SystemEventSchema, event));
    return;
  }
  const { paint } = output;
  const name = nameOf(SystemEventTypeSchema, event.type).padEnd(20);
  const type = urgent.has(event.type) ? paint.red(name) : paint.cyan(name);
  const tenant = event.metadata["tenant"];
  output.print(
    `${paint.dim(toMoment(event.timestampMs))}  ${type}  ${cleanLine(event.message)}${tenant === undefined ? "" : paint.dim(`  ${tenant}`)}`,
  );
}

const urgent: ReadonlySet<SystemEventType> = new Set([
  SystemEventType.ERROR,
  SystemEventType.WARNING,
  SystemEventType.ENTRY_DROPPED,
]);
