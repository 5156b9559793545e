/** One event in one line. */
import { memo, type ReactNode } from "react";
import { formatTime } from "../ui/format.ts";
import { type Entry, previewOf, typeName } from "./entry.ts";
import type { WorkflowNode } from "./nodes.ts";
import { colours } from "./workflow-card.tsx";

interface Props {
  readonly entry: Entry;
  readonly node: WorkflowNode | undefined;
  readonly chosen: boolean;
  readonly onChoose: (offset: number) => void;
}

export const TimelineRow = memo(function TimelineRow({ entry, node, chosen, onChoose }: Props): ReactNode {
  const type = typeName(entry.type);
  return (
    <button
      type="button"
      aria-pressed={chosen}
      className={`event colour-${(node?.ordinal ?? 0) % colours} type-${type.replaceAll(" ", "-")}`}
      onClick={() => onChoose(entry.offset)}
    >
      <span className="offset">{entry.offset}</span>
      <span className="time">{formatTime(entry.recordedMs)}</span>
      <span className="who">{node?.name}</span>
      <span className="type">{type}</span>
      <span className="what">{previewOf(entry).slice(0, 200)}</span>
    </button>
  );
});
