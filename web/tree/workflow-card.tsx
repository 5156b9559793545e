/** One workflow at a glance: how it is, how far, its latest words, tool call or error. Drawn again only when it changed. */
import { memo, type ReactNode } from "react";
import { shortId } from "../ui/format.ts";
import { Progress, Status } from "../ui/status.tsx";
import type { WorkflowNode } from "./nodes.ts";

/** Enough for three lines of a wide card. */
const shownCharacters = 420;
export const colours = 8;

interface Props {
  readonly node: WorkflowNode;
  /** Of the node, which itself stays the same object. */
  readonly version: number;
  readonly depth: number;
  readonly selected: boolean;
  readonly onSelect: (id: string) => void;
}

export const WorkflowCard = memo(function WorkflowCard({
  node,
  depth,
  selected,
  onSelect,
}: Props): ReactNode {
  const { id, name, status, speaking, latest, errors, cancelReason } = node;
  const title = name || shortId(id);
  const percent = Math.round(node.progress * 100);
  return (
    <button
      type="button"
      id={`card-${id}`}
      className={`card colour-${node.ordinal % colours} depth-${Math.min(depth, 6)} ${selected ? "selected" : ""}`}
      aria-pressed={selected}
      onClick={() => onSelect(id)}
    >
      <span className="line">
        <Status status={status} />
        <strong>{title}</strong>
        {cancelReason === undefined ? null : <span className="tag warn">asked to stop</span>}
        {errors === 0 ? null : (
          <span className="tag bad">
            {errors} {errors === 1 ? "error" : "errors"}
          </span>
        )}
        <span className="tasks">{[...node.tasks.keys()].slice(0, 3).join(", ")}</span>
        <span className="number percent">{percent} %</span>
      </span>
      <Progress share={node.progress} status={status} label={`${title}: progress`} />
      <span className="words">
        <span>{speaking?.transcript.tail(shownCharacters)}</span>
      </span>
      <span className={`latest ${latest?.kind ?? ""}`}>
        {latest === undefined ? "" : `${latest.kind === "tool" ? "⚙" : "⚠"} ${latest.text.slice(0, 200)}`}
      </span>
    </button>
  );
});
