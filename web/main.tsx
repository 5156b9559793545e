/** The console begins here: the theme first, then who looks at it, then the page. */
import { createRoot } from "react-dom/client";
import { App } from "./app.tsx";
import { openSession } from "./session/session.ts";
import { applyTheme } from "./ui/theme.ts";
import "./ui/base.css";
import "./ui/controls.css";
import "./ui/signs.css";
import "./ui/layout.css";

applyTheme();
// A guest's link may be opened in a tab that shows the page already.
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#/shared/")) void openSession();
});
void openSession();
const root = document.getElementById("root");
if (root !== null) createRoot(root).render(<App />);
