/** The workflows of the tree as cards of one height: only those in sight are in the page. Up and down move, Enter opens. */
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, type ReactNode, useRef } from "react";
import type { TreeRow } from "./tree-model.ts";
import { WorkflowCard } from "./workflow-card.tsx";

/** With the text that streams in, while all of it fits; smaller for trees of more than a few dozen. */
const heights = { full: 120, small: 56 } as const;
const mostFullCards = 40;

export function TreePane({
  rows,
  selectedId,
  onSelect,
}: {
  readonly rows: readonly TreeRow[];
  readonly selectedId: string | undefined;
  readonly onSelect: (id: string) => void;
}): ReactNode {
  const scroller = useRef<HTMLDivElement>(null);
  const small = rows.length > mostFullCards;
  const height = small ? heights.small : heights.full;
  const cards = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: 3,
  });
  const measured = useRef(height);
  if (measured.current !== height) {
    measured.current = height;
    cards.measure();
  }
  const move = (event: KeyboardEvent) => {
    const by = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    const at = rows.findIndex(({ node }) => node.id === selectedId) + by;
    const next = rows[at];
    if (by === 0 || next === undefined) return;
    event.preventDefault();
    onSelect(next.node.id);
    cards.scrollToIndex(at);
    requestAnimationFrame(() => document.getElementById(`card-${next.node.id}`)?.focus());
  };
  return (
    <section className="tree-pane" aria-label="Workflows of this tree">
      <div className={`scroller ${small ? "small" : ""}`} ref={scroller}>
        <ul style={{ height: cards.getTotalSize() }} onKeyDown={move}>
          {cards.getVirtualItems().map(({ index, start }) => {
            const row = rows[index];
            if (row === undefined) return null;
            return (
              <li
                key={row.node.id}
                aria-setsize={rows.length}
                aria-posinset={index + 1}
                style={{ transform: `translateY(${start}px)`, height }}
              >
                <WorkflowCard
                  node={row.node}
                  version={row.node.version}
                  depth={row.depth}
                  selected={row.node.id === selectedId}
                  onSelect={onSelect}
                />
              </li>
            );
          })}
        </ul>
      </div>
    </section>
  );
}
