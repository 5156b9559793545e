/** What the demo knows about the tree from the events alone: who is whose child, how far, and what was written. */
import { type Event, EventType, WorkflowStatus } from "../../gen/tributary/v1/event_pb.ts";
import { fieldsOf, progressOf, textOf } from "../output/payload.ts";
import { cleanLine, cleanText } from "../output/width.ts";

export interface BoardRow {
  readonly id: string;
  readonly parentId: string;
  readonly name: string;
  status: WorkflowStatus;
  /** 0 to 1. */
  progress: number;
  text: string;
}

const endings: Partial<Record<EventType, WorkflowStatus>> = {
  [EventType.WORKFLOW_COMPLETED]: WorkflowStatus.COMPLETED,
  [EventType.WORKFLOW_FAILED]: WorkflowStatus.FAILED,
  [EventType.WORKFLOW_CANCELLED]: WorkflowStatus.CANCELLED,
};

export class Board {
  readonly rows: BoardRow[] = [];
  events = 0;
  offset = 0n;
  readonly #byId = new Map<string, BoardRow>();

  add(event: Event): void {
    this.events += 1;
    this.offset = event.offset;
    if (event.type === EventType.WORKFLOW_CREATED) this.#addRow(event);
    const row = this.#byId.get(event.workflowId);
    if (row === undefined) return;
    row.status = endings[event.type] ?? row.status;
    row.progress = progressOf(event) ?? row.progress;
    if (event.type === EventType.TOKEN) row.text += cleanText(textOf(event));
  }

  #addRow(event: Event): void {
    const { name, parentWorkflowId } = fieldsOf(event);
    const row: BoardRow = {
      id: event.workflowId,
      parentId: typeof parentWorkflowId === "string" ? parentWorkflowId : "",
      name: cleanLine(typeof name === "string" ? name : event.workflowId),
      status: WorkflowStatus.RUNNING,
      progress: 0,
      text: "",
    };
    this.rows.push(row);
    this.#byId.set(row.id, row);
  }
}
