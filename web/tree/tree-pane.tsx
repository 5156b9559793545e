/** The workflows of the tree as cards of one height: only those in sight are in the page. Up and down move, Enter opens. */
import type { KeyboardEvent, ReactNode } from "react";
import { useRows } from "../ui/use-rows.ts";
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
  const small = rows.length > mostFullCards;
  const height = small ? heights.small : heights.full;
  const cards = useRows<HTMLDivElement>(rows.length, height);
  const move = (event: KeyboardEvent) => {
    const by = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    const at = rows.findIndex(({ node }) => node.id === selectedId) + by;
    const next = rows[at];
    if (by === 0 || next === undefined) return;
    event.preventDefault();
    onSelect(next.node.id);
    // The next card is always in the page: some are drawn beyond those in sight.
    document.getElementById(`card-${next.node.id}`)?.focus();
  };
  return (
    <section className="tree-pane" aria-label="Workflows of this tree">
      <div className={`scroller ${small ? "small" : ""}`} ref={cards.scroller}>
        <ul style={{ height: cards.height }} onKeyDown={move}>
          {cards.shown.map((index) => {
            const row = rows[index];
            if (row === undefined) return null;
            return (
              <li
                key={row.node.id}
                aria-setsize={rows.length}
                aria-posinset={index + 1}
                style={{ transform: `translateY(${index * height}px)`, height }}
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
