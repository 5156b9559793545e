/** Starts a demo run and shows it. */
import { type ReactNode, useState } from "react";
import { ConnectError } from "../../client/browser.ts";
import { useSession } from "../session/session-context.ts";
import { Button } from "../ui/controls.tsx";
import { go, linkTo } from "../ui/route.ts";
import { startDemoRun } from "./demo-run.ts";

export function DemoButton(): ReactNode {
  const { api } = useSession();
  const [problem, setProblem] = useState("");
  const start = async () => {
    const fail = (error: unknown) => setProblem(ConnectError.from(error).rawMessage);
    try {
      go(linkTo.tree(await startDemoRun(api, fail)));
    } catch (error) {
      fail(error);
    }
  };
  return (
    <span className="with-problem">
      <Button tone="primary" onClick={() => void start()}>
        Start a demo run
      </Button>
      {problem === "" ? null : <span role="alert">{problem}</span>}
    </span>
  );
}
