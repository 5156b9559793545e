/** Light or dark: as the system says, unless somebody chose; the choice is remembered on this machine. */
import { type Readable, Store, useStore } from "./store.ts";

export type Theme = "system" | "light" | "dark";
const order: readonly Theme[] = ["system", "light", "dark"];
const place = "tributary.theme";

export const theme = new Store<Theme>(remembered());

export function applyTheme(): void {
  const chosen = theme.get();
  if (chosen === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = chosen;
}

export function nextTheme(): void {
  theme.set(order[(order.indexOf(theme.get()) + 1) % order.length] ?? "system");
  try {
    localStorage.setItem(place, theme.get());
  } catch {
    // Storage is switched off: the choice holds for this page.
  }
  applyTheme();
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const systemScheme: Readable<"light" | "dark"> = {
  get: () => (dark.matches ? "dark" : "light"),
  subscribe(listener) {
    dark.addEventListener("change", listener);
    return () => dark.removeEventListener("change", listener);
  },
};

/** What is really shown. */
export function useScheme(): "light" | "dark" {
  const system = useStore(systemScheme);
  const chosen = useStore(theme);
  return chosen === "system" ? system : chosen;
}

function remembered(): Theme {
  try {
    const found = localStorage.getItem(place);
    return order.find((each) => each === found) ?? "system";
  } catch {
    return "system";
  }
}
