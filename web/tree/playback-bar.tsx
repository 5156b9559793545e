/** The moment that is shown: stop, go back and forth in what the page keeps, go live again. */
import type { ReactNode } from "react";
import { Button } from "../ui/controls.tsx";
import { formatCount, formatTime } from "../ui/format.ts";
import { useStore } from "../ui/store.ts";
import type { Playback } from "./playback.ts";
import type { TreeFeed } from "./tree-feed.ts";

export function PlaybackBar({
  feed,
  playback,
}: {
  readonly feed: TreeFeed;
  readonly playback: Playback;
}): ReactNode {
  const stoppedAt = useStore(playback.stoppedAt);
  const { live, firstOffset } = feed.history;
  const isLive = stoppedAt === undefined;
  const model = playback.model;
  const behind = isLive ? 0 : live.offset - stoppedAt;
  const time = model.atMs === 0 ? "" : formatTime(model.atMs);
  return (
    <section className={`playback ${isLive ? "" : "stopped"}`} aria-label="Playback">
      {isLive ? (
        <Button onClick={() => playback.pause()} disabled={live.events === 0}>
          <span aria-hidden="true">❚❚</span> Pause
        </Button>
      ) : (
        <Button tone="primary" onClick={() => playback.goLive()}>
          <span aria-hidden="true">▶</span> Go live
        </Button>
      )}
      <Button
        tone="quiet"
        aria-label="One event back"
        onClick={() => playback.step(-1)}
        disabled={live.events === 0}
      >
        ‹
      </Button>
      <input
        type="range"
        aria-label="Moment in the history"
        aria-valuetext={`offset ${model.offset}, ${time}`}
        min={firstOffset}
        max={live.offset}
        value={isLive ? live.offset : stoppedAt}
        disabled={live.events === 0}
        onChange={({ target }) => playback.seek(Number(target.value))}
      />
      <Button tone="quiet" aria-label="One event on" onClick={() => playback.step(1)} disabled={isLive}>
        ›
      </Button>
      <output>
        <span className="number">{formatCount(model.offset)}</span>
        <small> of {formatCount(live.offset)}</small>
        <small className="moment">{isLive ? time : `${time} · ${formatCount(behind)} behind`}</small>
      </output>
    </section>
  );
}
