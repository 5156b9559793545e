/**
 * `tributary demo`: a workflow tree at work, watched through its consolidated stream. Ends with a verdict on what was
 * really received, exit code 1 if anything was missing or came twice.
 */
import { once } from "node:events";
import type { Command } from "commander";
import { sleep } from "../../client/index.ts";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import type { Cli } from "../cli.ts";
import { findOrStartServer } from "../demo/own-server.ts";
import { createView } from "../demo/views.ts";
import { toWatchLines } from "../demo/watch-lines.ts";
import { Witness } from "../demo/witness.ts";
import { registerTree, runStory } from "../demo/workers.ts";
import { withExamples } from "../help.ts";

const fastPace = 0.1;
const tidyTimeoutMs = 2000;

export function addDemo(program: Command, cli: Cli): void {
  const command = program
    .command("demo")
    .description("show a workflow tree live; starts a server of its own if none answers")
    .option("--fast", "in about a second instead of eight")
    .action(async ({ fast }: { fast?: true }) => demo(cli, fast === true ? fastPace : 1));
  withExamples(
    command,
    ["tributary demo", "a root, two children and a grandchild, live"],
    ["tributary demo --fast --json", "quickly, one JSON object a line"],
  );
}

async function demo(cli: Cli, pace: number): Promise<void> {
  const interrupted = cli.interrupts.take();
  const server = await findOrStartServer(cli);
  let complete = false;
  try {
    if (!interrupted.aborted) await watch(cli, server, pace, interrupted);
    complete = !interrupted.aborted;
    // Somebody may be looking at the console, which would go with the server.
    if (complete && server.isOwn && pace === 1) await stay(cli, server.url, interrupted);
  } finally {
    cli.close(); // before the server: it need not wait for us
    await server.close();
  }
  if (!complete) cli.exitCode = cli.interrupts.exitCode ?? cli.exitCode;
}

/** On a terminal the server goes on until Ctrl-C; programs get their prompt back. */
async function stay({ output }: Cli, url: string, interrupted: AbortSignal): Promise<void> {
  if (!output.isTerminal || output.json || interrupted.aborted) return;
  const { bold, dim } = output.paint;
  output.print(`The console stays open: ${bold(`${url}/`)} ${dim("(Ctrl-C ends it)")}`);
  await once(interrupted, "abort");
}

async function watch(
  cli: Cli,
  server: { readonly url: string; readonly key: string | undefined },
  pace: number,
  interrupted: AbortSignal,
): Promise<void> {
  const client = cli.connect(server.url, server.key);
  const tree = await registerTree(client);
  const view = createView(cli.output);
  const witness = new Witness();
  const failed = new AbortController();
  const signal = AbortSignal.any([interrupted, failed.signal]);
  const pause = async (ms: number) => {
    await sleep(ms * pace, signal);
    signal.throwIfAborted();
  };
  let story: Promise<void> | undefined;
  let ended = false;
  try {
    view.begin(server.url, tree.rootId, await toWatchLines(client, server, tree.rootId));
    for await (const item of client.followTree(tree.rootId, { signal })) {
      if (item.kind === "opened") {
        story = runStory({ client, pause }, tree);
        story.catch(() => failed.abort());
      }
      witness.see(item);
      view.show(item);
      ended = item.kind === "ended";
    }
    if (!interrupted.aborted) await story;
  } finally {
    view.close();
    if (!ended) {
      const { workflows } = client;
      const cancelled = { workflowId: tree.rootId, status: WorkflowStatus.CANCELLED, closeDescendants: true };
      await workflows.closeWorkflow(cancelled, { timeoutMs: tidyTimeoutMs }).catch(() => {});
    }
  }
  if (interrupted.aborted) return;
  const verdict = witness.verdict();
  view.conclude(verdict);
  if (!verdict.complete) cli.exitCode = 1;
}
