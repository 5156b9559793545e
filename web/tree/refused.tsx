/** Why a tree is not shown, and what helps. */
import type { ReactNode } from "react";
import { Code } from "../../client/browser.ts";
import { useSession } from "../session/session-context.ts";
import { Empty } from "../ui/controls.tsx";
import { linkTo } from "../ui/route.ts";

const titles: Partial<Record<Code, string>> = {
  [Code.PermissionDenied]: "This workflow is not yours to see",
  [Code.Unauthenticated]: "The credential is no longer valid",
  [Code.NotFound]: "There is no such workflow",
  [Code.InvalidArgument]: "This address names no workflow",
};

export function Refused({ code, message }: { readonly code: Code; readonly message: string }): ReactNode {
  const { as } = useSession();
  const isGuest = as === "guest";
  const advice = isGuest ? "Ask whoever sent the link for a new one." : "";
  return (
    <Empty
      title={titles[code] ?? "This tree cannot be shown"}
      action={isGuest ? undefined : <a href={linkTo.workflows}>To the workflows</a>}
    >
      {message} {advice}
    </Empty>
  );
}
