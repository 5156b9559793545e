/** One tree: its workflows at work on one side, what was said or happened on the other, one moment of time over both. */
import { type ReactNode, useEffect, useState } from "react";
import { useSession } from "../session/session-context.ts";
import { Tabs } from "../ui/controls.tsx";
import { go, linkTo, type TreeTab } from "../ui/route.ts";
import { useStore } from "../ui/store.ts";
import { VariablesPanel } from "../variables/variables-panel.tsx";
import { OutputPanel } from "./output-panel.tsx";
import { Playback } from "./playback.ts";
import { PlaybackBar } from "./playback-bar.tsx";
import { Refused } from "./refused.tsx";
import { Timeline } from "./timeline.tsx";
import { TreeFeed } from "./tree-feed.ts";
import { TreeHead } from "./tree-head.tsx";
import { TreePane } from "./tree-pane.tsx";
import "./tree.css";
import "./timeline.css";

const tabs = [
  { name: "timeline", label: "Timeline" },
  { name: "output", label: "Output" },
  { name: "variables", label: "Variables" },
] as const;

export function TreeView({
  workflowId,
  tab,
}: {
  readonly workflowId: string;
  readonly tab: TreeTab;
}): ReactNode {
  const { api } = useSession();
  const [feed] = useState(() => new TreeFeed(api, workflowId));
  const [playback] = useState(() => new Playback(feed));
  const [selectedId, select] = useState(workflowId);
  const state = useStore(feed.state);
  useStore(feed.changes);
  useStore(playback.stoppedAt);
  useEffect(() => {
    void feed.run();
    return () => feed.stop();
  }, [feed]);
  const choose = (name: TreeTab) => go(linkTo.tree(workflowId, name), { replace: true });

  if (state.kind === "failed" && feed.history.live.events === 0) return <Refused {...state} />;
  const model = playback.model;
  const selected = model.nodes.get(selectedId) ?? model.nodes.get(workflowId);
  return (
    <div className="tree view">
      <TreeHead feed={feed} model={model} state={state} />
      <PlaybackBar feed={feed} playback={playback} />
      {state.kind === "failed" ? (
        <p className="banner" role="alert">
          {state.message}
        </p>
      ) : null}
      <div className="tree-split">
        <TreePane
          rows={model.rows}
          selectedId={selected?.id}
          onSelect={(id) => {
            select(id);
            if (tab === "timeline") choose("output");
          }}
        />
        <section className="side" aria-label="Details">
          <Tabs id="side" label="Details" items={tabs} chosen={tab} onChoose={choose} />
          <div id="side-panel" role="tabpanel" aria-labelledby={`side-${tab}`} className="panel">
            {tab === "timeline" ? <Timeline feed={feed} playback={playback} /> : null}
            {tab === "output" ? <OutputPanel node={selected} /> : null}
            {tab === "variables" && selected !== undefined ? (
              <VariablesPanel key={selected.id} workflowId={selected.id} name={selected.name} />
            ) : null}
          </div>
        </section>
      </div>
    </div>
  );
}
