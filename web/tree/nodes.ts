/** A workflow of the tree and its tasks, as the events so far tell it. `version` moves with each event, for who draws them. */
import { EventType, WorkflowStatus } from "../../client/browser.ts";
import { type Entry, fieldsOf, textIn } from "./entry.ts";
import { Transcript } from "./transcript.ts";

export class TaskNode {
  readonly id: string;
  status: WorkflowStatus = WorkflowStatus.RUNNING;
  /** 0 to 1. */
  progress = 0;
  details = "";
  tokens = 0;
  transcript = new Transcript();

  constructor(id: string) {
    this.id = id;
  }

  take({ type, text }: Entry): void {
    switch (type) {
      case EventType.TOKEN:
        this.tokens += 1;
        this.transcript.addText(text);
        break;
      case EventType.PROGRESS: {
        const { progress, details } = fieldsOf(text);
        this.progress = Math.min(1, Math.max(0, Number(progress) || 0));
        this.details = textIn(details);
        break;
      }
      case EventType.TOOL_CALL: {
        const { id, name, arguments: args } = fieldsOf(text);
        this.transcript.addTool(textIn(id), textIn(name), textIn(args));
        break;
      }
      case EventType.TOOL_RESULT: {
        const { id, name, result } = fieldsOf(text);
        this.transcript.addResult(textIn(id), textIn(name), textIn(result));
        break;
      }
      case EventType.ERROR:
        this.transcript.addNote("error", "error", messageOf(text));
        break;
      case EventType.OUTPUT:
        this.transcript.addNote("good", "output", text);
        break;
      case EventType.DATA:
        this.transcript.addNote("plain", "data", text);
        break;
      case EventType.COMPLETED:
        this.status = WorkflowStatus.COMPLETED;
        this.progress = 1;
        break;
      case EventType.FAILED:
        this.status = WorkflowStatus.FAILED;
        this.transcript.addNote("error", "failed", messageOf(text));
        break;
      case EventType.CANCELLED:
        this.status = WorkflowStatus.CANCELLED;
        break;
      default: // started, and what a newer server adds
    }
  }

  clone(): TaskNode {
    const copy = Object.assign(new TaskNode(this.id), this);
    copy.transcript = this.transcript.clone();
    return copy;
  }
}

export class WorkflowNode {
  readonly id: string;
  name = "";
  parentId = "";
  status: WorkflowStatus = WorkflowStatus.RUNNING;
  createdMs = 0;
  closedMs = 0;
  /** What it ended with. */
  outcome = "";
  cancelReason: string | undefined;
  events = 0;
  errors = 0;
  /** Of the tree, in the order of appearance: decides its colour. */
  readonly ordinal: number;
  /** Its latest tool call or error, for one line. */
  latest: { readonly kind: "tool" | "error"; readonly text: string } | undefined;
  /** The task that spoke last. */
  speaking: TaskNode | undefined;
  tasks = new Map<string, TaskNode>();
  version = 0;

  constructor(id: string, ordinal: number) {
    this.id = id;
    this.ordinal = ordinal;
  }

  get progress(): number {
    if (this.status === WorkflowStatus.COMPLETED) return 1;
    if (this.tasks.size === 0) return 0;
    let sum = 0;
    for (const { progress } of this.tasks.values()) sum += progress;
    return sum / this.tasks.size;
  }

  task(id: string): TaskNode {
    let task = this.tasks.get(id);
    if (task === undefined) {
      task = new TaskNode(id);
      this.tasks.set(id, task);
    }
    return task;
  }

  clone(): WorkflowNode {
    const copy = Object.assign(new WorkflowNode(this.id, this.ordinal), this);
    copy.tasks = new Map([...this.tasks].map(([id, task]) => [id, task.clone()]));
    copy.speaking = this.speaking === undefined ? undefined : copy.tasks.get(this.speaking.id);
    return copy;
  }
}

const messageOf = (text: string): string => textIn(fieldsOf(text)["message"]) || text;
