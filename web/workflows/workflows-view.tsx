/** The list of trees: what runs, since when, how fast. */
import { type ReactNode, useEffect, useState } from "react";
import { WorkflowStatus } from "../../client/browser.ts";
import type { Workflow } from "../../gen/tributary/v1/workflow_service_pb.ts";
import { CommandsButton } from "../commands/commands-dialog.tsx";
import { useSession } from "../session/session-context.ts";
import { Connection } from "../ui/connection.tsx";
import { Empty, Figure } from "../ui/controls.tsx";
import { formatCompact, formatRate } from "../ui/format.ts";
import { useStore } from "../ui/store.ts";
import { DemoButton } from "./demo-button.tsx";
import { mostTrees, Pulse } from "./pulse.ts";
import { isOpen, WorkflowRegistry } from "./registry.ts";
import { WorkflowList } from "./workflow-list.tsx";
import "./workflows.css";

const choices = [
  { name: "all", label: "All" },
  { name: "running", label: "Running" },
  { name: "completed", label: "Completed" },
  { name: "failed", label: "Failed" },
  { name: "cancelled", label: "Cancelled" },
] as const;
type Choice = (typeof choices)[number]["name"];

const wanted: Partial<Record<Choice, WorkflowStatus>> = {
  completed: WorkflowStatus.COMPLETED,
  failed: WorkflowStatus.FAILED,
  cancelled: WorkflowStatus.CANCELLED,
};

export function WorkflowsView(): ReactNode {
  const { api } = useSession();
  const [registry] = useState(() => new WorkflowRegistry(api));
  const [pulse] = useState(() => new Pulse(api));
  const [text, setText] = useState("");
  const [choice, setChoice] = useState<Choice>("all");
  useStore(registry.changes);
  useStore(pulse.changes);
  useEffect(() => {
    void registry.run();
    return () => {
      registry.stop();
      pulse.stop();
    };
  }, [registry, pulse]);
  useSearch(registry, text);

  const found = registry.workflows.filter((workflow) => fits(workflow, text, choice));
  const open = found.filter(isOpen).slice(0, mostTrees);
  const followed = open.map(({ workflowId }) => workflowId).join();
  useEffect(() => {
    const timer = setTimeout(() => pulse.follow(followed === "" ? [] : followed.split(",")), 300);
    return () => clearTimeout(timer);
  }, [pulse, followed]);
  const perSecond = [...pulse.beats.values()].reduce((sum, beat) => sum + beat.perSecond, 0);

  return (
    <div className="workflows view">
      <header className="view-head">
        <h1>Workflows</h1>
        <Connection kind={registry.failure ? "failed" : registry.connected ? "live" : "connecting"} />
        <dl className="figures">
          <Figure label="running" value={formatCompact(registry.running)} />
          <Figure label="events/s" value={formatRate(perSecond)} />
        </dl>
        <span className="spacer" />
        <CommandsButton screen={{ kind: "workflows" }} />
        <DemoButton />
      </header>
      <search className="filters">
        <input
          type="search"
          aria-label="Search by name or id"
          placeholder="Search by name or id"
          value={text}
          onChange={({ target }) => setText(target.value)}
        />
        <fieldset className="choices">
          <legend>Status</legend>
          {choices.map(({ name, label }) => (
            <label key={name}>
              <input type="radio" name="status" checked={choice === name} onChange={() => setChoice(name)} />
              <span>{label}</span>
            </label>
          ))}
        </fieldset>
      </search>
      {registry.failure !== undefined ? (
        <Empty title="The list cannot be shown">{registry.failure}</Empty>
      ) : found.length > 0 ? (
        <WorkflowList workflows={found} beats={pulse.beats} />
      ) : !registry.complete ? (
        <p className="splash">Loading the workflows…</p>
      ) : registry.workflows.length > 0 ? (
        <Empty title="Nothing matches">Change the search or the status above.</Empty>
      ) : (
        <Empty title="No workflows yet" action={<DemoButton />}>
          A workflow appears here the moment a worker registers it. To see one now, start a demo run: agents
          that plan a trip, with everything they say streaming in.
        </Empty>
      )}
    </div>
  );
}

function fits(workflow: Workflow, text: string, choice: Choice): boolean {
  if (choice === "running" && !isOpen(workflow)) return false;
  const status = wanted[choice];
  if (status !== undefined && (workflow.status !== status || isOpen(workflow))) return false;
  const needle = text.trim().toLowerCase();
  return (
    needle === "" || workflow.name.toLowerCase().includes(needle) || workflow.workflowId.startsWith(needle)
  );
}

/** What is older than the list is looked for at the server, when the typing pauses. */
function useSearch(registry: WorkflowRegistry, text: string): void {
  useEffect(() => {
    if (text.trim() === "") return;
    const own = new AbortController();
    const timer = setTimeout(() => void registry.search(text.trim(), own.signal), 250);
    return () => {
      clearTimeout(timer);
      own.abort();
    };
  }, [registry, text]);
}
