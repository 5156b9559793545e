/**
 * Which view is shown: it stands in the fragment of the address, which no browser sends to a server. `#/workflows/<id>/output`
 * and the like; `#/shared/<workflow>/<token>` is a guest's link (session/shared-link.ts).
 */
import { type Readable, useStore } from "./store.ts";

export const treeTabs = ["output", "timeline", "variables"] as const;
export type TreeTab = (typeof treeTabs)[number];

export type Route =
  | { readonly view: "workflows" }
  | { readonly view: "tree"; readonly workflowId: string; readonly tab: TreeTab }
  | { readonly view: "wall" }
  | { readonly view: "memory" }
  | { readonly view: "operations" }
  | { readonly view: "unknown"; readonly path: string };

const fragment: Readable<string> = {
  get: () => location.hash,
  subscribe(listener) {
    addEventListener("hashchange", listener);
    return () => removeEventListener("hashchange", listener);
  },
};

export const useRoute = (): Route => parseRoute(useStore(fragment));

export function parseRoute(hash: string): Route {
  const path = hash.replace(/^#?\/?/, "");
  const [first = "", id = "", tab] = path.split("/");
  if (first === "workflows" && id !== "") {
    return {
      view: "tree",
      workflowId: id.toLowerCase(),
      tab: treeTabs.find((each) => each === tab) ?? "timeline",
    };
  }
  if (first === "" || first === "workflows") return { view: "workflows" };
  if (first === "wall" || first === "memory" || first === "operations") return { view: first };
  return { view: "unknown", path };
}

export const linkTo = {
  workflows: "#/",
  wall: "#/wall",
  memory: "#/memory",
  operations: "#/operations",
  tree: (workflowId: string, tab?: TreeTab) =>
    `#/workflows/${workflowId}${tab === undefined ? "" : `/${tab}`}`,
};

/** To another view; `replace`: the one before is not worth going back to. */
export function go(link: string, { replace = false } = {}): void {
  if (replace) {
    history.replaceState(null, "", link);
    dispatchEvent(new HashChangeEvent("hashchange"));
  } else location.hash = link;
}
