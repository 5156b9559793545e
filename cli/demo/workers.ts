/** The demo's workers: they write through the API as any worker would, and know nothing of who reads. */
import type { TributaryClient } from "../../client/index.ts";
import { WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import {
  guide,
  type Part,
  research,
  toTokens,
  translation,
  translationBeginsMs,
  writing,
  writingBeginsMs,
} from "./story.ts";

export interface WorkDeps {
  readonly client: TributaryClient;
  /** Waits, at the demo's pace; throws with the signal. */
  readonly pause: (ms: number) => Promise<void>;
}

/** The root and its first child. */
export async function registerTree(client: TributaryClient): Promise<{ rootId: string; researchId: string }> {
  const rootId = await register(client, guide, "");
  return { rootId, researchId: await register(client, research, rootId) };
}

/** Everything that happens while somebody watches; the other child and the grandchild start on the way. */
export async function runStory(
  deps: WorkDeps,
  { rootId, researchId }: { readonly rootId: string; readonly researchId: string },
): Promise<void> {
  const { client, pause } = deps;
  await Promise.all([
    write(deps, rootId, guide),
    finish(deps, researchId, research),
    pause(writingBeginsMs).then(async () => {
      const writingId = await register(client, writing, rootId);
      await Promise.all([
        finish(deps, writingId, writing),
        pause(translationBeginsMs).then(async () =>
          finish(deps, await register(client, translation, writingId), translation),
        ),
      ]);
    }),
  ]);
  await close(client, rootId);
}

async function register(client: TributaryClient, { name }: Part, parentWorkflowId: string): Promise<string> {
  const { workflow } = await client.workflows.createWorkflow({
    name,
    parentWorkflowId,
    metadata: { from: "tributary demo" },
  });
  return workflow?.workflowId ?? "";
}

async function finish(deps: WorkDeps, workflowId: string, part: Part): Promise<void> {
  await write(deps, workflowId, part);
  await close(deps.client, workflowId);
}

async function close({ workflows }: TributaryClient, workflowId: string): Promise<void> {
  await workflows.closeWorkflow({ workflowId, status: WorkflowStatus.COMPLETED });
}

/** A session while the worker works; each event leaves when it happens. */
async function write({ client, pause }: WorkDeps, workflowId: string, part: Part): Promise<void> {
  await using session = client.openSession({ workflowId });
  const task = session.task(part.task);
  const tokens = toTokens(part.text);
  await task.started();
  for (const [at, token] of tokens.entries()) {
    await pause(part.lastsMs / tokens.length);
    await task.token(token);
    const tenth = tenthOf(at + 1, tokens.length);
    if (tenth !== tenthOf(at, tokens.length)) await task.progress(tenth / 10);
  }
  await task.completed();
}

const tenthOf = (done: number, all: number): number => Math.floor((done * 10) / all);
