/**
 * Plays the story with unary calls, since browsers cannot stream requests. Each part is a workflow with one task and a
 * producer of its own, whose numbers make it safe to send an event again after a lost connection. The run belongs to this
 * page: when the page closes, it stays open as far as it came.
 */
import { create } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { EventType, sleep, WorkflowStatus } from "../../client/browser.ts";
import type { Api } from "../session/api.ts";
import { type Act, type DemoPart, plan } from "./demo-story.ts";

/** The times of the story are those of a run that is in a hurry. */
const standardPace = 1.7;

/** Starts it and answers with the root's id as soon as there is one; the rest goes on by itself. */
export async function startDemoRun(
  api: Api,
  onFailure: (error: unknown) => void,
  { pace = standardPace, story = plan }: { pace?: number; story?: DemoPart } = {},
): Promise<string> {
  const rootId = await register(api, story, "");
  const root = new Actor(api, rootId, story, pace);
  root.play().catch(onFailure);
  return rootId;
}

async function register(api: Api, { name }: DemoPart, parentWorkflowId: string): Promise<string> {
  // An id of our own, so that a call which is tried again makes one workflow.
  const { workflow } = await api.workflows.createWorkflow({
    ...{ workflowId: crypto.randomUUID(), name, parentWorkflowId, metadata: { from: "console" } },
  });
  return workflow?.workflowId ?? "";
}

class Actor {
  readonly #api: Api;
  readonly #workflowId: string;
  readonly #part: DemoPart;
  readonly #pace: number;
  readonly #producerId = crypto.randomUUID();
  readonly #children: Promise<void>[] = [];
  #sequence = 0n;
  #calls = 0;

  constructor(api: Api, workflowId: string, part: DemoPart, pace: number) {
    this.#api = api;
    this.#workflowId = workflowId;
    this.#part = part;
    this.#pace = pace;
  }

  async play(): Promise<void> {
    const { acts } = this.#part;
    await this.#send(EventType.STARTED, "");
    for (const [at, act] of acts.entries()) {
      await this.#perform(act);
      await this.#send(EventType.PROGRESS, JSON.stringify({ progress: (at + 1) / (acts.length + 1) }));
    }
    await Promise.all(this.#children);
    await this.#send(EventType.COMPLETED, "");
    await this.#api.workflows.closeWorkflow({
      workflowId: this.#workflowId,
      status: WorkflowStatus.COMPLETED,
    });
  }

  async #perform(act: Act): Promise<void> {
    switch (act.kind) {
      case "say":
        for (const token of act.text.split(/(?<=\s)/)) {
          await this.#wait(this.#part.paceMs);
          await this.#send(EventType.TOKEN, token);
        }
        break;
      case "tool": {
        const id = `call-${++this.#calls}`;
        await this.#send(EventType.TOOL_CALL, JSON.stringify({ id, name: act.name, arguments: act.args }));
        await this.#wait(act.takesMs);
        await this.#send(EventType.TOOL_RESULT, JSON.stringify({ id, name: act.name, result: act.result }));
        break;
      }
      case "error":
        await this.#send(EventType.ERROR, JSON.stringify({ message: act.message, code: act.code }));
        await this.#wait(1000);
        break;
      case "output":
        await this.#send(EventType.OUTPUT, act.text);
        break;
      case "set":
        await this.#api.variables.setVariable({
          workflowId: this.#workflowId,
          assignment: { name: act.name, value: toValue(act.value) },
          source: this.#part.task,
        });
        break;
      case "start": {
        const id = await register(this.#api, act.part, this.#workflowId);
        const playing = new Actor(this.#api, id, act.part, this.#pace).play();
        playing.catch(() => {}); // heard at the end, where the parent waits for it
        this.#children.push(playing);
      }
    }
  }

  async #send(type: EventType, payload: string): Promise<void> {
    this.#sequence += 1n;
    await this.#api.tasks.streamTaskData({
      ...{ workflowExecutionId: this.#workflowId, taskExecutionId: this.#part.task },
      ...{ type, payload, sequence: this.#sequence, producerId: this.#producerId },
    });
  }

  #wait(ms: number): Promise<void> {
    return sleep(ms * this.#pace);
  }
}

function toValue(value: string | number | boolean) {
  const kind =
    typeof value === "string"
      ? { case: "stringValue" as const, value }
      : typeof value === "number"
        ? { case: "numberValue" as const, value }
        : { case: "boolValue" as const, value };
  return create(ValueSchema, { kind });
}
