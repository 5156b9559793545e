/** Makes a link that lets a guest see this tree, and nothing else, for an hour at most. */
import { type ReactNode, useState } from "react";
import { ConnectError } from "../../client/browser.ts";
import { useSession } from "../session/session-context.ts";
import { toSharedLink } from "../session/shared-link.ts";
import { Button, CopyButton } from "../ui/controls.tsx";
import { DialogButton } from "../ui/dialog.tsx";
import { formatTime } from "../ui/format.ts";

const lives = [
  { seconds: 900, label: "15 minutes" },
  { seconds: 3600, label: "1 hour" },
] as const;

export function ShareButton({ workflowId }: { readonly workflowId: string }): ReactNode {
  return (
    <DialogButton label="Share" title="Share this tree, read-only">
      {() => <Share workflowId={workflowId} />}
    </DialogButton>
  );
}

function Share({ workflowId }: { readonly workflowId: string }): ReactNode {
  const { api } = useSession();
  const [ttlSeconds, setTtlSeconds] = useState<number>(900);
  const [includeVariables, setIncludeVariables] = useState(true);
  const [made, setMade] = useState<{ readonly link: string; readonly expiresMs: number }>();
  const [problem, setProblem] = useState("");
  const make = async () => {
    try {
      const { token, expiresMs } = await api.tokens.createStreamToken({
        ...{ workflowIds: [workflowId], ttlSeconds, includeVariables },
      });
      setMade({ link: toSharedLink({ workflowId, token }), expiresMs: Number(expiresMs) });
    } catch (error) {
      setProblem(ConnectError.from(error).rawMessage);
    }
  };
  return (
    <div className="share">
      <p>
        Whoever has the link sees this workflow and all below it, live. The token is in the part of the
        address that browsers do not send, so it is in no server's log.
      </p>
      <label>
        Valid for{" "}
        <select value={ttlSeconds} onChange={({ target }) => setTtlSeconds(Number(target.value))}>
          {lives.map(({ seconds, label }) => (
            <option key={seconds} value={seconds}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <label>
        <input
          type="checkbox"
          checked={includeVariables}
          onChange={({ target }) => setIncludeVariables(target.checked)}
        />{" "}
        with variables
      </label>
      {made === undefined ? (
        <Button tone="primary" onClick={() => void make()}>
          Make the link
        </Button>
      ) : (
        <div className="made">
          <input readOnly aria-label="Link" value={made.link} onFocus={({ target }) => target.select()} />
          <CopyButton text={made.link} />
          <p>Valid until {formatTime(made.expiresMs)}.</p>
        </div>
      )}
      {problem === "" ? null : <p role="alert">{problem}</p>}
    </div>
  );
}
