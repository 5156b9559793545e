/**
 * The tree as of one offset: what follows from the events up to there, and nothing else. Applying the same events gives the
 * same tree, so the past is shown by applying fewer of them.
 */
import { EventType, WorkflowStatus } from "../../client/browser.ts";
import { type Entry, fieldsOf, textIn } from "./entry.ts";
import { WorkflowNode } from "./nodes.ts";

export interface TreeRow {
  readonly node: WorkflowNode;
  readonly depth: number;
}

const endings: Partial<Record<EventType, WorkflowStatus>> = {
  [EventType.WORKFLOW_COMPLETED]: WorkflowStatus.COMPLETED,
  [EventType.WORKFLOW_FAILED]: WorkflowStatus.FAILED,
  [EventType.WORKFLOW_CANCELLED]: WorkflowStatus.CANCELLED,
};

/** What the registry knows of a workflow whose creation was trimmed. */
export interface KnownWorkflow {
  readonly workflowId: string;
  readonly parentWorkflowId: string;
  readonly name: string;
  readonly status: WorkflowStatus;
  readonly createdMs: bigint;
  readonly closedMs: bigint;
}

export class TreeModel {
  readonly nodes = new Map<string, WorkflowNode>();
  /** Of the last event. */
  offset = 0;
  atMs = 0;
  events = 0;
  /** The workflow whose task spoke last. */
  speaking: WorkflowNode | undefined;
  #rows: readonly TreeRow[] | undefined;

  apply(entry: Entry): void {
    this.offset = entry.offset;
    this.atMs = entry.recordedMs;
    this.events += 1;
    const node = this.#node(entry.workflowId);
    node.version += 1;
    node.events += 1;
    if (entry.task === "") this.#takeLife(node, entry);
    else {
      takeTask(node, entry);
      this.speaking = node;
    }
  }

  /** Parents before children, children in the order in which they appeared. */
  get rows(): readonly TreeRow[] {
    this.#rows ??= toRows([...this.nodes.values()]);
    return this.#rows;
  }

  /** Names and parents of workflows whose creation is no longer among the events. */
  learn(workflows: readonly KnownWorkflow[]): void {
    for (const { workflowId, parentWorkflowId, name, status, createdMs, closedMs } of workflows) {
      const node = this.#node(workflowId);
      if (node.name !== "") continue;
      Object.assign(node, { name, parentId: parentWorkflowId, createdMs: Number(createdMs) });
      if (status !== WorkflowStatus.RUNNING) Object.assign(node, { status, closedMs: Number(closedMs) });
      node.version += 1;
    }
    this.#rows = undefined;
  }

  clone(): TreeModel {
    const copy = new TreeModel();
    for (const [id, node] of this.nodes) copy.nodes.set(id, node.clone());
    copy.offset = this.offset;
    copy.atMs = this.atMs;
    copy.events = this.events;
    copy.speaking = this.speaking === undefined ? undefined : copy.nodes.get(this.speaking.id);
    return copy;
  }

  #node(id: string): WorkflowNode {
    let node = this.nodes.get(id);
    if (node === undefined) {
      node = new WorkflowNode(id, this.nodes.size);
      this.nodes.set(id, node);
      this.#rows = undefined;
    }
    return node;
  }

  #takeLife(node: WorkflowNode, { type, text, recordedMs }: Entry): void {
    if (type === EventType.WORKFLOW_CREATED) {
      const { name, parentWorkflowId } = fieldsOf(text);
      node.name = textIn(name);
      node.parentId = textIn(parentWorkflowId);
      node.createdMs = recordedMs;
      this.#rows = undefined;
    } else if (type === EventType.CANCEL_REQUESTED) node.cancelReason = textIn(fieldsOf(text)["reason"]);
    const ending = endings[type];
    if (ending === undefined) return;
    node.status = ending;
    node.closedMs = recordedMs;
    node.outcome = text;
  }
}

function takeTask(node: WorkflowNode, entry: Entry): void {
  const task = node.task(entry.task);
  task.take(entry);
  node.speaking = task;
  const { type, text } = entry;
  if (type === EventType.ERROR || type === EventType.FAILED) {
    node.errors += 1;
    node.latest = { kind: "error", text: textIn(fieldsOf(text)["message"]) || text };
  } else if (type === EventType.TOOL_CALL || type === EventType.TOOL_RESULT) {
    const { name, arguments: args, result } = fieldsOf(text);
    const more = type === EventType.TOOL_CALL ? `(${textIn(args)})` : ` → ${textIn(result)}`;
    node.latest = { kind: "tool", text: `${textIn(name)}${more}` };
  }
}

function toRows(nodes: readonly WorkflowNode[]): TreeRow[] {
  const known = new Set(nodes.map(({ id }) => id));
  const children = Map.groupBy(nodes, ({ parentId }) => (known.has(parentId) ? parentId : ""));
  const rows: TreeRow[] = [];
  const visit = (parentId: string, depth: number) => {
    for (const node of children.get(parentId) ?? []) {
      rows.push({ node, depth });
      visit(node.id, depth + 1);
    }
  };
  visit("", 0);
  return rows;
}
