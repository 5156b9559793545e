/** Which tree, how it is, how much of it there is; and what can be done with it. */
import type { ReactNode } from "react";
import { WorkflowStatus } from "../../client/browser.ts";
import { CommandsButton } from "../commands/commands-dialog.tsx";
import { useSession } from "../session/session-context.ts";
import { useNow } from "../ui/clock.ts";
import { Connection } from "../ui/connection.tsx";
import { Figure } from "../ui/controls.tsx";
import { formatCount, formatDuration, formatRate, shortId } from "../ui/format.ts";
import { linkTo } from "../ui/route.ts";
import { Status } from "../ui/status.tsx";
import { ShareButton } from "./share-button.tsx";
import type { FeedState, TreeFeed } from "./tree-feed.ts";
import type { TreeModel } from "./tree-model.ts";

export function TreeHead({
  feed,
  model,
  state,
}: {
  readonly feed: TreeFeed;
  readonly model: TreeModel;
  readonly state: FeedState;
}): ReactNode {
  const { as } = useSession();
  const now = useNow();
  const root = model.nodes.get(feed.workflowId);
  const running = model.rows.filter(({ node }) => node.status === WorkflowStatus.RUNNING).length;
  const age =
    root === undefined || root.createdMs === 0 ? undefined : (root.closedMs || now) - root.createdMs;
  return (
    <header className="view-head">
      {as === "guest" ? null : (
        <a className="back" href={linkTo.workflows} aria-label="Back to the workflows">
          ←
        </a>
      )}
      <h1>
        {root?.name || shortId(feed.workflowId)} {root === undefined ? null : <Status status={root.status} />}
      </h1>
      <Connection kind={state.kind} />
      <dl className="figures">
        <Figure
          label="workflows"
          value={formatCount(model.rows.length)}
          note={running > 0 ? `${running} running` : ""}
        />
        <Figure label="events" value={formatCount(model.events + feed.missing)} />
        <Figure label="events/s" value={formatRate(feed.meter.rate(now))} />
        {age === undefined ? null : (
          <Figure label={root?.closedMs ? "took" : "age"} value={formatDuration(age)} />
        )}
      </dl>
      <span className="spacer" />
      <CommandsButton screen={{ kind: "tree", workflowId: feed.workflowId, afterOffset: 0 }} />
      {as === "guest" ? null : <ShareButton workflowId={feed.workflowId} />}
    </header>
  );
}
