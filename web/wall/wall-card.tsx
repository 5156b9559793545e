/** One tree on the wall: how it is, how fast, and what was said last, by whom. */
import { type ReactNode, useEffect, useState } from "react";
import { WorkflowStatus } from "../../client/browser.ts";
import { useSession } from "../session/session-context.ts";
import { TreeFeed } from "../tree/tree-feed.ts";
import { colours } from "../tree/workflow-card.tsx";
import { useNow } from "../ui/clock.ts";
import { Connection } from "../ui/connection.tsx";
import { formatCompact, formatRate, shortId } from "../ui/format.ts";
import { linkTo } from "../ui/route.ts";
import { Progress, Status } from "../ui/status.tsx";
import { useStore } from "../ui/store.ts";

const shownCharacters = 600;

export function WallCard({
  workflowId,
  name,
  status,
}: {
  readonly workflowId: string;
  readonly name: string;
  readonly status: WorkflowStatus;
}): ReactNode {
  const { api } = useSession();
  const [feed] = useState(() => new TreeFeed(api, workflowId, { recent: true }));
  const state = useStore(feed.state);
  useStore(feed.changes);
  const now = useNow();
  useEffect(() => {
    void feed.run();
    return () => feed.stop();
  }, [feed]);
  const { live } = feed.history;
  const nodes = [...live.nodes.values()];
  const running = nodes.filter((node) => node.status === WorkflowStatus.RUNNING).length;
  const share = nodes.reduce((sum, { progress }) => sum + progress, 0) / Math.max(1, nodes.length);
  const { speaking } = live;
  return (
    <a
      href={linkTo.tree(workflowId)}
      className={`wall-card ${speaking === undefined ? "" : `colour-${speaking.ordinal % colours}`}`}
    >
      <span className="line">
        <strong>{name}</strong>
        <Status status={status} />
        <span className="spacer" />
        {state.kind === "live" || state.kind === "ended" ? null : <Connection kind={state.kind} />}
      </span>
      <Progress share={share} status={status} label={`${name}: progress`} />
      <span className="who">
        {speaking === undefined ? "nobody has spoken yet" : speaking.name || shortId(speaking.id)}
      </span>
      <span className="words">
        <span>{speaking?.speaking?.transcript.tail(shownCharacters)}</span>
      </span>
      <small>
        {nodes.length} workflows, {running} running · {formatCompact(live.offset)} events ·{" "}
        {formatRate(feed.meter.rate(now))}/s
      </small>
    </a>
  );
}
