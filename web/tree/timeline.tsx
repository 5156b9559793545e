/**
 * Every event of the tree in its one order. Rows have one height and only those in sight are in the page, so a hundred thousand are
 * as quick as ten. It stays at the newest while one is there; who scrolls back is not disturbed.
 */

import { memo, type ReactNode, useLayoutEffect, useMemo, useState } from "react";
import { Button, Empty } from "../ui/controls.tsx";
import { formatCount } from "../ui/format.ts";
import { scrollable } from "../ui/scrollable.ts";
import { useStore } from "../ui/store.ts";
import { useRows } from "../ui/use-rows.ts";
import { EventDetails } from "./event-details.tsx";
import { mostEntries } from "./history.ts";
import type { Playback } from "./playback.ts";
import { type FilterName, filterNames, filters, TimelineFilter } from "./timeline-filter.ts";
import { TimelineRow } from "./timeline-row.tsx";
import type { TreeFeed } from "./tree-feed.ts";

const rowHeight = 26;

interface Props {
  readonly feed: TreeFeed;
  readonly playback: Playback;
}

export const Timeline = memo(function Timeline({ feed, playback }: Props): ReactNode {
  useStore(feed.calmChanges);
  useStore(playback.stoppedAt);
  const [name, setName] = useState<FilterName>("all");
  const [chosen, choose] = useState<number>();
  const { history } = feed;
  const filter = useMemo(() => new TimelineFilter(history, name), [history, name]);
  const count = filter.count(playback.shownEntries);
  const [atEnd, setAtEnd] = useState(true);
  const { scroller, height, seen, shown } = useRows<HTMLElement>(count, rowHeight, { atEnd });
  // Also when there is less room than before: what was the end is then below it.
  useLayoutEffect(() => {
    if (atEnd && seen > 0) scroller.current?.scrollTo(0, height);
  }, [atEnd, height, seen, scroller]);
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
        <ol style={{ height }}>
          {shown.map((index) => {
            const entry = filter.at(index);
            if (entry === undefined) return null;
            return (
              <li key={entry.offset} style={{ transform: `translateY(${index * rowHeight}px)` }}>
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
});
