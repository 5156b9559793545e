/** Memory: what was observed in a space, searched and live. */
import { type ReactNode, useEffect, useState } from "react";
import { ConnectError } from "../../client/browser.ts";
import type { MemorySpace } from "../../gen/tributary/v1/memory_service_pb.ts";
import { CommandsButton } from "../commands/commands-dialog.tsx";
import { useSession } from "../session/session-context.ts";
import { Empty } from "../ui/controls.tsx";
import { formatCount } from "../ui/format.ts";
import { RecallResults } from "./recall-results.tsx";
import "./memory.css";

const standardSpace = "default";

export default function MemoryView(): ReactNode {
  const [space, setSpace] = useState(standardSpace);
  const [typed, setTyped] = useState("");
  const text = useSettled(typed.trim());
  const { spaces, failure } = useSpaces();
  const names = spaces.length === 0 ? [standardSpace] : spaces.map((each) => each.space);
  const chosen = spaces.find((each) => each.space === space);
  return (
    <div className="memory view">
      <header className="view-head">
        <h1>Memory</h1>
        <small>
          {chosen === undefined ? "" : `${formatCount(Number(chosen.tailOffset))} observations in ${space}`}
        </small>
        <span className="spacer" />
        <CommandsButton screen={{ kind: "recall", space, text }} />
      </header>
      <search className="filters">
        <label>
          Space{" "}
          <select value={space} onChange={({ target }) => setSpace(target.value)}>
            {names.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <input
          type="search"
          aria-label="Recall by words"
          placeholder="Recall by words, like: otter or “river bank” -winter"
          value={typed}
          onChange={({ target }) => setTyped(target.value)}
        />
      </search>
      {failure === undefined ? (
        <RecallResults key={`${space} ${text}`} space={space} text={text} />
      ) : (
        <Empty title="Memory cannot be shown">{failure}</Empty>
      )}
    </div>
  );
}

function useSpaces(): { readonly spaces: readonly MemorySpace[]; readonly failure: string | undefined } {
  const { api } = useSession();
  const [spaces, setSpaces] = useState<readonly MemorySpace[]>([]);
  const [failure, setFailure] = useState<string>();
  useEffect(() => {
    const own = new AbortController();
    api.memory.listMemorySpaces({ pageSize: 1000 }, { signal: own.signal }).then(
      ({ memorySpaces }) => setSpaces(memorySpaces),
      (error: unknown) => {
        if (!own.signal.aborted) setFailure(ConnectError.from(error).rawMessage);
      },
    );
    return () => own.abort();
  }, [api]);
  return { spaces, failure };
}

/** The text once the typing pauses. */
function useSettled(text: string): string {
  const [settled, settle] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => settle(text), 300);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}
