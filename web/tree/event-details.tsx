/** One event whole: its payload as the server keeps it, and where it stands. */

import { type ReactNode, useEffect, useState } from "react";
import { useSession } from "../session/session-context.ts";
import { Button, CopyButton } from "../ui/controls.tsx";
import { formatDate } from "../ui/format.ts";
import { scrollable } from "../ui/scrollable.ts";
import { typeName } from "./entry.ts";
import type { Playback } from "./playback.ts";
import type { TreeFeed } from "./tree-feed.ts";

export function EventDetails({
  feed,
  playback,
  offset,
  onClose,
}: {
  readonly feed: TreeFeed;
  readonly playback: Playback;
  readonly offset: number;
  readonly onClose: () => void;
}): ReactNode {
  const { entries } = feed.history;
  const entry = entries[feed.history.countUpTo(offset) - 1];
  const whole = useWholePayload(feed.workflowId, offset, entry?.cut === true);
  if (entry?.offset !== offset) return null;
  const text = whole ?? entry.text;
  return (
    <section className="event-details" aria-label={`Event ${offset}`}>
      <header>
        <h3>
          {typeName(entry.type)} <small>offset {offset}</small>
        </h3>
        <span className="spacer" />
        <Button tone="quiet" onClick={() => playback.seek(offset)}>
          Show the tree then
        </Button>
        <CopyButton text={text} label="Copy payload" />
        <Button tone="quiet" aria-label="Close the event" onClick={onClose}>
          ✕
        </Button>
      </header>
      <p>
        {entry.task === "" ? (
          "the workflow itself"
        ) : (
          <>
            task <code>{entry.task}</code>
          </>
        )}{" "}
        · stored {formatDate(entry.recordedMs)} · {Math.max(0, entry.recordedMs - entry.sentMs)} ms after it
        was written
      </p>
      <pre {...scrollable}>{pretty(text)}</pre>
    </section>
  );
}

/** Long payloads are cut in the page; the server has them. */
function useWholePayload(workflowId: string, offset: number, cut: boolean): string | undefined {
  const { api } = useSession();
  const [whole, setWhole] = useState<string>();
  useEffect(() => {
    setWhole(undefined);
    if (!cut) return;
    const own = new AbortController();
    const request = { workflowId, consolidated: true, cursor: BigInt(offset - 1), limit: 1 };
    api.streams
      .readEvents(request, { signal: own.signal })
      .then(({ events }) => {
        const value = events[0]?.payload.value;
        if (typeof value === "string") setWhole(value);
      })
      .catch(() => {}); // what is kept here stays on the screen
    return () => own.abort();
  }, [api, workflowId, offset, cut]);
  return whole;
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2);
  } catch {
    return text;
  }
}
