/** How the service is: throughput, latency, lanes, sessions, streams, events. What the key may not see is said, not failed. */
import { type ReactNode, useEffect, useState } from "react";
import { CommandsButton } from "../commands/commands-dialog.tsx";
import { useSession } from "../session/session-context.ts";
import { Connection } from "../ui/connection.tsx";
import { Figure } from "../ui/controls.tsx";
import { formatCompact, formatDuration, formatRate } from "../ui/format.ts";
import { scrollable } from "../ui/scrollable.ts";
import { useStore } from "../ui/store.ts";
import { Charts } from "./charts.tsx";
import { Instance } from "./instance.ts";
import { Lanes } from "./lanes.tsx";
import { Sessions } from "./sessions.tsx";
import { Streams } from "./streams.tsx";
import { SystemEvents } from "./system-events.tsx";
import "./operations.css";

export default function OperationsView(): ReactNode {
  const { api } = useSession();
  const [instance] = useState(() => new Instance(api));
  useStore(instance.changes);
  useEffect(() => {
    void instance.run();
    return () => instance.stop();
  }, [instance]);
  const { stats, denied, failure, samples, connected } = instance;
  const last = samples.at(-1);
  return (
    <div className="operations view">
      <header className="view-head">
        <h1>Operations</h1>
        <Connection kind={denied !== undefined ? "failed" : connected ? "live" : "connecting"} />
        <span className="spacer" />
        <CommandsButton screen={{ kind: "stats" }} />
      </header>
      <section className="scroll" aria-label="Figures" {...scrollable}>
        {denied === undefined ? null : (
          <p className="banner">
            Figures, sessions and system events need a key with the role MANAGE ({denied}). The charts below
            show what this page itself receives.
          </p>
        )}
        {failure === undefined ? null : (
          <p className="banner" role="alert">
            The server did not answer: {failure}. It is asked again.
          </p>
        )}
        {stats === undefined ? null : (
          <dl className="figures wide">
            <Figure label="status" value={stats.status} />
            <Figure label="up for" value={formatDuration(Number(stats.uptimeMs))} />
            <Figure label="stored/s" value={formatRate(last?.published ?? 0)} />
            <Figure label="delivered/s" value={formatRate(last?.delivered ?? 0)} />
            <Figure label="readers" value={formatCompact(stats.subscribers)} />
            <Figure label="sessions" value={formatCompact(stats.sessions)} />
            <Figure
              label="stored"
              value={formatCompact(Number(stats.eventsPublished))}
              note="since the start"
            />
            <Figure
              label="delivered"
              value={formatCompact(Number(stats.eventsDelivered))}
              note="since the start"
            />
          </dl>
        )}
        <Charts instance={instance} />
        {stats === undefined ? null : (
          <>
            <Lanes lanes={stats.lanes} />
            <Sessions sessions={instance.sessions} />
            <Streams streams={stats.streams} />
            <SystemEvents events={instance.systemEvents} />
          </>
        )}
      </section>
    </div>
  );
}
