/** The frame around every view: where one is, where one can go, who one is. */
import type { ReactNode } from "react";
import { signOut } from "../session/session.ts";
import { useSession } from "../session/session-context.ts";
import { useNow } from "./clock.ts";
import { Button } from "./controls.tsx";
import { formatDuration } from "./format.ts";
import { linkTo, type Route } from "./route.ts";
import { useStore } from "./store.ts";
import { nextTheme, theme } from "./theme.ts";

const places = [
  { view: "workflows", label: "Workflows", link: linkTo.workflows },
  { view: "wall", label: "Wall", link: linkTo.wall },
  { view: "memory", label: "Memory", link: linkTo.memory },
  { view: "operations", label: "Operations", link: linkTo.operations },
] as const;

export function Shell({
  route,
  children,
}: {
  readonly route: Route;
  readonly children: ReactNode;
}): ReactNode {
  const { as } = useSession();
  const here = route.view === "tree" ? "workflows" : route.view;
  return (
    <div className="shell">
      <button type="button" className="skip" onClick={() => document.getElementById("content")?.focus()}>
        Skip to the content
      </button>
      <header className="top">
        <a className="brand" href={linkTo.workflows}>
          <span className="brand-sign" aria-hidden="true" />
          Tributary
        </a>
        {as === "guest" ? (
          <span className="spacer" />
        ) : (
          <nav aria-label="Views">
            {places.map(({ view, label, link }) => (
              <a key={view} href={link} aria-current={here === view ? "page" : undefined}>
                {label}
              </a>
            ))}
          </nav>
        )}
        <Who />
        <ThemeButton />
      </header>
      <main id="content" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

function Who(): ReactNode {
  const { as, tenant, expiresMs } = useSession();
  return (
    <div className="who">
      {as === "development" ? (
        <span title="Development mode: signed in by itself">tenant {tenant}</span>
      ) : null}
      {as === "guest" ? <Guest tenant={tenant} expiresMs={expiresMs} /> : null}
      {as === "development" ? null : (
        <Button tone="quiet" onClick={() => signOut()}>
          Sign out
        </Button>
      )}
    </div>
  );
}

function Guest({
  tenant,
  expiresMs,
}: {
  readonly tenant: string | undefined;
  readonly expiresMs: number | undefined;
}) {
  const left = (expiresMs ?? 0) - useNow();
  return (
    <span>
      guest of {tenant}, {left > 0 ? `${formatDuration(left)} left` : "the link has expired"}
    </span>
  );
}

const signs = { system: "◐", light: "☀", dark: "☾" } as const;

function ThemeButton(): ReactNode {
  const chosen = useStore(theme);
  return (
    <Button
      tone="quiet"
      aria-label={`Theme: ${chosen}. Change`}
      title={`Theme: ${chosen}`}
      onClick={nextTheme}
    >
      <span aria-hidden="true">{signs[chosen]}</span>
    </Button>
  );
}
