/** What a recall found, and what came since. */
import { type ReactNode, useEffect, useState } from "react";
import type { RecalledObservation } from "../../client/browser.ts";
import { useSession } from "../session/session-context.ts";
import { Connection } from "../ui/connection.tsx";
import { Empty } from "../ui/controls.tsx";
import { formatCount, formatDate } from "../ui/format.ts";
import { useStore } from "../ui/store.ts";
import { Recall } from "./recall.ts";

export function RecallResults({ space, text }: { readonly space: string; readonly text: string }): ReactNode {
  const { api } = useSession();
  const [recall] = useState(() => new Recall(api, space, text));
  useStore(recall.changes);
  useEffect(() => {
    void recall.run();
    return () => recall.stop();
  }, [recall]);
  const { arrived, snapshot, connection, complete, failure } = recall;
  if (failure !== undefined) return <Empty title="This cannot be recalled">{failure}</Empty>;
  const isEmpty = arrived.length + snapshot.length === 0;
  return (
    <section className="recall" aria-label="Observations">
      <p className="summary">
        <Connection kind={connection} />{" "}
        {isEmpty ? "" : text === "" ? "newest first" : `${formatCount(snapshot.length)} matches, best first`}
        {arrived.length === 0 ? "" : ` · ${formatCount(arrived.length)} came since`}
      </p>
      {isEmpty && complete ? (
        <Empty title={text === "" ? "Nothing was observed yet" : "Nothing matches"}>
          {text === ""
            ? "Agents write observations with openObservations of the SDK; they appear here as they come."
            : "What is observed from now on and matches appears here."}
        </Empty>
      ) : null}
      <ul>
        {arrived.map((result) => (
          <Observed key={String(result.observation?.offset)} result={result} isNew />
        ))}
        {snapshot.map((result) => (
          <Observed key={String(result.observation?.offset)} result={result} withScore={text !== ""} />
        ))}
      </ul>
    </section>
  );
}

function Observed({
  result: { observation, score },
  isNew = false,
  withScore = false,
}: {
  readonly result: RecalledObservation;
  readonly isNew?: boolean;
  readonly withScore?: boolean;
}): ReactNode {
  if (observation === undefined) return null;
  const { content, metadata, offset, recordedMs, confidence = 1, importance = 0.5 } = observation;
  return (
    <li className={isNew ? "new" : ""}>
      <p className="content">{content}</p>
      <p className="about">
        {isNew ? <span className="tag good">new</span> : null}
        {withScore ? <span>score {score.toFixed(2)}</span> : null}
        <span>confidence {confidence.toFixed(2)}</span>
        <span>importance {importance.toFixed(2)}</span>
        <span>offset {String(offset)}</span>
        <span>{formatDate(Number(recordedMs))}</span>
        {Object.entries(metadata).map(([key, value]) => (
          <span key={key} className="tag">
            {key}: {value}
          </span>
        ))}
      </p>
    </li>
  );
}
