/** The rows of the list. Only those in sight are in the page, each of one height. */
import type { ReactNode } from "react";
import type { Workflow } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { useNow } from "../ui/clock.ts";
import { formatCompact, formatDate, formatDuration, formatRate, shortId } from "../ui/format.ts";
import { linkTo } from "../ui/route.ts";
import { Status } from "../ui/status.tsx";
import { useRows } from "../ui/use-rows.ts";
import type { Beat } from "./pulse.ts";
import { isOpen } from "./registry.ts";

const rowHeight = 58;

export function WorkflowList({
  workflows,
  beats,
}: {
  readonly workflows: readonly Workflow[];
  readonly beats: ReadonlyMap<string, Beat>;
}): ReactNode {
  const { scroller, height, shown } = useRows<HTMLDivElement>(workflows.length, rowHeight);
  const now = useNow();
  return (
    <div className="list" ref={scroller}>
      <ul aria-label="Workflows" style={{ height }}>
        {shown.map((index) => {
          const workflow = workflows[index];
          if (workflow === undefined) return null;
          return (
            <li
              key={workflow.workflowId}
              aria-setsize={workflows.length}
              aria-posinset={index + 1}
              style={{ transform: `translateY(${index * rowHeight}px)`, height: rowHeight }}
            >
              <Row workflow={workflow} beat={beats.get(workflow.workflowId)} now={now} />
            </li>
          );
        })}
      </ul>
    </div>
  );
}

function Row({
  workflow,
  beat,
  now,
}: {
  readonly workflow: Workflow;
  readonly beat: Beat | undefined;
  readonly now: number;
}): ReactNode {
  const { workflowId, name, status, createdMs, closedMs, openInSubtree } = workflow;
  const open = isOpen(workflow);
  const below = openInSubtree - (status === 1 ? 1 : 0);
  return (
    <a href={linkTo.tree(workflowId)} className="workflow-row">
      <Status status={status} />
      <span className="name">
        <strong>{name}</strong>
        <code>{shortId(workflowId)}</code>
      </span>
      <span className="below">{below > 0 ? `${below} open below` : ""}</span>
      <span className="rate">
        {beat === undefined || !open
          ? ""
          : `${formatRate(beat.perSecond)}/s · ${formatCompact(beat.offset)} events`}
      </span>
      <time dateTime={new Date(Number(createdMs)).toISOString()} title={formatDate(Number(createdMs))}>
        {open
          ? formatDuration(now - Number(createdMs))
          : `took ${formatDuration(Number(closedMs - createdMs))}`}
        <small>{open ? "so far" : `${formatDuration(now - Number(closedMs))} ago`}</small>
      </time>
    </a>
  );
}
