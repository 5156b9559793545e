/** "Copy as…": the calls behind what is on the screen. */

import { type ReactNode, useEffect, useState } from "react";
import { useSession } from "../session/session-context.ts";
import { readClaims } from "../session/shared-link.ts";
import { CopyButton, Tabs } from "../ui/controls.tsx";
import { DialogButton } from "../ui/dialog.tsx";
import { scrollable } from "../ui/scrollable.ts";
import { type Command, placeholder, type Screen, toCommands } from "./commands.ts";

export function CommandsButton({ screen }: { readonly screen: Screen }): ReactNode {
  return (
    <DialogButton label="Copy as…" title="The same from a terminal">
      {() => <Commands screen={screen} />}
    </DialogButton>
  );
}

function Commands({ screen }: { readonly screen: Screen }): ReactNode {
  const { secret } = useSession();
  const tenant = useTenant(screen);
  const [tool, setTool] = useState<Command["tool"]>();
  const [withKey, setWithKey] = useState(false);
  const place = { url: location.origin, tenant, credential: withKey ? secret() : placeholder };
  const commands = toCommands(screen, place);
  const chosen = commands.find((command) => command.tool === tool) ?? commands[0];
  if (chosen === undefined) return null;
  return (
    <div className="commands">
      <Tabs
        id="tool"
        label="Tool"
        items={commands.map((command) => ({ name: command.tool, label: command.tool }))}
        chosen={chosen.tool}
        onChoose={setTool}
      />
      <pre id="tool-panel" role="tabpanel" aria-label={chosen.tool} {...scrollable}>
        {chosen.text}
      </pre>
      <footer>
        <label>
          <input type="checkbox" checked={withKey} onChange={({ target }) => setWithKey(target.checked)} />{" "}
          with my real credential
        </label>
        <CopyButton text={chosen.text} />
      </footer>
    </div>
  );
}

/** A key does not say whose it is; a token made with it does. */
function useTenant(screen: Screen): string {
  const { api, tenant } = useSession();
  const [found, setFound] = useState(tenant);
  const workflowId = "workflowId" in screen ? screen.workflowId : undefined;
  useEffect(() => {
    if (found !== undefined || workflowId === undefined) return;
    const own = new AbortController();
    api.tokens
      .createStreamToken({ workflowIds: [workflowId], ttlSeconds: 1 }, { signal: own.signal })
      .then(({ token }) => setFound(readClaims(token)?.tenant))
      .catch(() => {}); // then the placeholder stays
    return () => own.abort();
  }, [api, found, workflowId]);
  return found ?? "$TENANT";
}
