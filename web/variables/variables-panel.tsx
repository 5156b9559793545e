/** The variables of a workflow as they are, each with its changes. */
import { type ReactNode, useEffect, useState } from "react";
import { CommandsButton } from "../commands/commands-dialog.tsx";
import { useSession } from "../session/session-context.ts";
import { Connection } from "../ui/connection.tsx";
import { Empty } from "../ui/controls.tsx";
import { formatTime } from "../ui/format.ts";
import { useStore } from "../ui/store.ts";
import { VariableWatch, type WatchedVariable } from "./variable-watch.ts";
import "./variables.css";

export function VariablesPanel({
  workflowId,
  name,
}: {
  readonly workflowId: string;
  readonly name: string;
}): ReactNode {
  const { api, includesVariables } = useSession();
  const [watch] = useState(() => new VariableWatch(api, workflowId));
  useStore(watch.changes);
  useEffect(() => {
    if (!includesVariables) return;
    void watch.run();
    return () => watch.stop();
  }, [watch, includesVariables]);
  if (!includesVariables)
    return <Empty title="Not part of this link">It was shared without variables.</Empty>;
  if (watch.failure !== undefined) return <Empty title="They cannot be shown">{watch.failure}</Empty>;
  const { variables } = watch;
  return (
    <div className="variables">
      <header>
        <h3>Variables of {name}</h3>
        <Connection kind={watch.connection} />
        <span className="spacer" />
        <CommandsButton screen={{ kind: "variables", workflowId }} />
      </header>
      {variables.length === 0 ? (
        <Empty title="No variables">
          A worker sets them with <code>SetVariable</code>; they appear here as they change.
        </Empty>
      ) : (
        <ul>
          {variables.map((variable) => (
            <li key={variable.name}>
              <VariableRow variable={variable} />
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function VariableRow({ variable }: { readonly variable: WatchedVariable }): ReactNode {
  const { name, value, version, source, updatedMs, history } = variable;
  return (
    <details>
      <summary>
        <span className="name">{name}</span>
        {/* A new version is a new element, which flashes once. */}
        <code key={version} className="value">
          {value ?? "deleted"}
        </code>
        <small>
          v{version} · {source || "unknown"} · {updatedMs === 0 ? "" : formatTime(updatedMs)}
        </small>
      </summary>
      <table>
        <thead>
          <tr>
            <th scope="col">Version</th>
            <th scope="col">Value</th>
            <th scope="col">By</th>
            <th scope="col">Offset</th>
            <th scope="col">When</th>
          </tr>
        </thead>
        <tbody>
          {history.map((change) => (
            <tr key={change.offset}>
              <td>{change.version}</td>
              <td>
                <code>{change.value ?? "deleted"}</code>
              </td>
              <td>{change.source}</td>
              <td>{change.offset}</td>
              <td>{formatTime(change.atMs)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}
