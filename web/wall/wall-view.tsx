/** Many trees at once, each with its newest words: for a second screen. What runs comes first; what has just ended fades behind it. */
import { type ReactNode, useEffect, useState } from "react";
import { useSession } from "../session/session-context.ts";
import { useNow } from "../ui/clock.ts";
import { Connection } from "../ui/connection.tsx";
import { Empty } from "../ui/controls.tsx";
import { useStore } from "../ui/store.ts";
import { DemoButton } from "../workflows/demo-button.tsx";
import { isOpen, WorkflowRegistry } from "../workflows/registry.ts";
import { WallCard } from "./wall-card.tsx";
import "./wall.css";

const mostTrees = 12;
/** How long a tree stays after its end, ms. */
const staysMs = 120_000;

export default function WallView(): ReactNode {
  const { api } = useSession();
  const [registry] = useState(() => new WorkflowRegistry(api));
  useStore(registry.changes);
  useEffect(() => {
    void registry.run();
    return () => registry.stop();
  }, [registry]);
  const now = useNow();
  const open = registry.workflows.filter(isOpen);
  const ended = registry.workflows.filter(
    (workflow) => !isOpen(workflow) && now - Number(workflow.closedMs) < staysMs,
  );
  const shown = [...open, ...ended].slice(0, mostTrees);
  return (
    <div className="wall view">
      <header className="view-head">
        <h1>Wall</h1>
        <Connection kind={registry.failure ? "failed" : registry.connected ? "live" : "connecting"} />
        <small>
          {open.length > mostTrees
            ? `the newest ${mostTrees} of ${open.length} that run`
            : `${open.length} running`}
        </small>
        <span className="spacer" />
        <DemoButton />
      </header>
      {registry.failure !== undefined ? <Empty title="It cannot be shown">{registry.failure}</Empty> : null}
      {shown.length === 0 && registry.complete ? (
        <Empty title="Nothing runs now">Trees appear here when they start, with what they say.</Empty>
      ) : null}
      <ul>
        {shown.map(({ workflowId, name, status }) => (
          <li key={workflowId}>
            <WallCard workflowId={workflowId} name={name} status={status} />
          </li>
        ))}
      </ul>
    </div>
  );
}
