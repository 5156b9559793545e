/** Which view, inside which frame. Views that few open at once come in files of their own. */
import { lazy, type ReactNode, Suspense } from "react";
import { type SignedIn, session } from "./session/session.ts";
import { SessionContext } from "./session/session-context.ts";
import { SignIn } from "./session/sign-in.tsx";
import { TreeView } from "./tree/tree-view.tsx";
import { Empty } from "./ui/controls.tsx";
import { ErrorBoundary } from "./ui/error-boundary.tsx";
import { linkTo, type Route, useRoute } from "./ui/route.ts";
import { Shell } from "./ui/shell.tsx";
import { useStore } from "./ui/store.ts";
import { WorkflowsView } from "./workflows/workflows-view.tsx";

const WallView = lazy(() => import("./wall/wall-view.tsx"));
const MemoryView = lazy(() => import("./memory/memory-view.tsx"));
const OperationsView = lazy(() => import("./operations/operations-view.tsx"));

export function App(): ReactNode {
  const current = useStore(session);
  const route = useRoute();
  if (current.state === "asking") return <p className="splash">Opening the console…</p>;
  if (current.state === "signed-out") return <SignIn message={current.message} />;
  return (
    <SessionContext value={current}>
      <Shell route={route}>
        <ErrorBoundary key={"workflowId" in route ? route.workflowId : route.view}>
          <Suspense fallback={<p className="splash">Loading…</p>}>
            <View route={route} session={current} />
          </Suspense>
        </ErrorBoundary>
      </Shell>
    </SessionContext>
  );
}

function View({ route, session: { as, workflowId } }: { readonly route: Route; readonly session: SignedIn }) {
  // A guest's link opens one tree; the server refuses the rest.
  if (as === "guest" && route.view !== "tree") {
    return workflowId === undefined ? (
      <Empty title="This link opens nothing">Ask for a new one.</Empty>
    ) : (
      <TreeView key={workflowId} workflowId={workflowId} tab="timeline" />
    );
  }
  switch (route.view) {
    case "workflows":
      return <WorkflowsView />;
    case "tree":
      return <TreeView key={route.workflowId} workflowId={route.workflowId} tab={route.tab} />;
    case "wall":
      return <WallView />;
    case "memory":
      return <MemoryView />;
    case "operations":
      return <OperationsView />;
    case "unknown":
      return (
        <Empty title="There is no such page" action={<a href={linkTo.workflows}>To the workflows</a>}>
          The address names <code>{route.path}</code>.
        </Empty>
      );
  }
}
