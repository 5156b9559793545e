/**
 * Every event of the tree in its one order. Rows have one height and only those in sight are in the page, so a hundred thousand are
 * as quick as ten. It stays at the newest while one is there; who scrolls back is not disturbed.
 */

import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, useLayoutEffect, useMemo, useRef, useState } from "react";
import { Button, Empty } from "../ui/controls.tsx";
import { formatCount } from "../ui/format.ts";
import { scrollable } from "../ui/scrollable.ts";
import { EventDetails } from "./event-details.tsx";
import { mostEntries } from "./history.ts";
import type { Playback } from "./playback.ts";
import { type FilterName, filterNames, filters, TimelineFilter } from "./timeline-filter.ts";
import { TimelineRow } from "./timeline-row.tsx";
import type { TreeFeed } from "./tree-feed.ts";

const rowHeight = 26;

export function Timeline({
  feed,
  playback,
}: {
  readonly feed: TreeFeed;
  readonly playback: Playback;
}): ReactNode {
  const [name, setName] = useState<FilterName>("all");
  const [chosen, choose] = useState<number>();
  const { history } = feed;
  const filter = useMemo(() => new TimelineFilter(history, name), [history, name]);
  const count = filter.count(playback.shownEntries);
  const scroller = useRef<HTMLElement>(null);
  const [atEnd, setAtEnd] = useState(true);
  const rows = useVirtualizer({
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: 10,
  });
  useLayoutEffect(() => {
    if (atEnd) scroller.current?.scrollTo(0, count * rowHeight);
  }, [atEnd, count]);
  const follow = () => {
    const { current } = scroller;
    if (current === null) return;
    setAtEnd(current.scrollHeight - current.scrollTop - current.clientHeight < 2 * rowHeight);
  };
  const kept = history.removed + feed.missing;
  const model = history.live;
  return (
    <div className="timeline">
      <div className="bar">
        <label>
          <span className="caption">Show </span>
          <select
            aria-label="Events to show"
            value={name}
            onChange={({ target }) => setName(target.value as FilterName)}
          >
            {filterNames.map((each) => (
              <option key={each} value={each}>
                {filters[each].label}
              </option>
            ))}
          </select>
        </label>
        <small>
          {formatCount(count)} events
          {kept > 0 ? ` · the newest ${formatCount(mostEntries)} are kept here` : ""}
        </small>
        <span className="spacer" />
        <Button tone="quiet" disabled={atEnd} onClick={() => setAtEnd(true)}>
          ↓ Newest
        </Button>
      </div>
      {count === 0 ? <Empty title="No such events">Those that come appear here.</Empty> : null}
      <section className="scroller" ref={scroller} onScroll={follow} {...scrollable} aria-label="Events">
        <ol style={{ height: rows.getTotalSize() }}>
          {rows.getVirtualItems().map(({ index, start }) => {
            const entry = filter.at(index);
            if (entry === undefined) return null;
            return (
              <li key={entry.offset} style={{ transform: `translateY(${start}px)` }}>
                <TimelineRow
                  entry={entry}
                  node={model.nodes.get(entry.workflowId)}
                  chosen={entry.offset === chosen}
                  onChoose={choose}
                />
              </li>
            );
          })}
        </ol>
      </section>
      {chosen === undefined ? null : (
        <EventDetails feed={feed} offset={chosen} playback={playback} onClose={() => choose(undefined)} />
      )}
    </div>
  );
}
