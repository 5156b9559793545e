/**
 * Who looks at this page: nobody yet, the tenant of a key, or a guest with a link to one tree. A key is kept in this tab's session
 * storage, where it ends with the tab; the key of development mode is asked for anew each time and kept nowhere.
 */
import { Code, ConnectError } from "../../client/browser.ts";
import { Store } from "../ui/store.ts";
import { type Api, createApi } from "./api.ts";
import { askDevelopment } from "./development.ts";
import { readClaims, readSharedLink } from "./shared-link.ts";

export interface SignedIn {
  readonly state: "signed-in";
  readonly as: "development" | "key" | "guest";
  readonly api: Api;
  /** The tenant, where it is known: a key does not say whose it is. */
  readonly tenant: string | undefined;
  /** A guest's: the tree that the link opens. */
  readonly workflowId: string | undefined;
  readonly includesVariables: boolean;
  readonly expiresMs: number | undefined;
  /** The secret itself, for who asks to copy it. */
  readonly secret: () => string;
}

export type Session =
  | { readonly state: "asking" }
  | { readonly state: "signed-out"; readonly message: string }
  | SignedIn;

const place = "tributary.credential";

export const session = new Store<Session>({ state: "asking" });

/** At the start: a guest's link, else what this tab remembers, else development mode, else the form. */
export async function openSession(): Promise<void> {
  const link = readSharedLink(location.hash);
  if (link !== undefined) {
    history.replaceState(null, "", `#/workflows/${link.workflowId}`);
    remember(link.token);
    return enter(link.token, link.workflowId);
  }
  const remembered = recall();
  if (remembered !== undefined) return enter(remembered);
  const development = await askDevelopment();
  if (development === undefined) return session.set({ state: "signed-out", message: "" });
  let { key } = development;
  const credential = async ({ refused }: { readonly refused: boolean }) => {
    // Another server, with another key, may have taken the place of the one before.
    if (refused) key = (await askDevelopment())?.key ?? key;
    return key;
  };
  session.set({
    ...{ state: "signed-in", as: "development", api: createApi(credential), tenant: development.tenant },
    ...{ workflowId: undefined, includesVariables: true, expiresMs: undefined, secret: () => key },
  });
}

/** With a key or token that somebody gave; it is tried before anything is shown. */
export async function signIn(secret: string): Promise<string | undefined> {
  if (readClaims(secret) === undefined) {
    const api = createApi(async () => secret);
    try {
      await api.workflows.listWorkflows({ pageSize: 1 });
    } catch (error) {
      const { code, rawMessage } = ConnectError.from(error);
      return code === Code.Unauthenticated ? "This key is not valid here: unknown or revoked." : rawMessage;
    } finally {
      api.close();
    }
  }
  remember(secret);
  enter(secret);
  return undefined;
}

export function signOut(message = ""): void {
  const current = session.get();
  if (current.state === "signed-in") current.api.close();
  forget();
  session.set({ state: "signed-out", message });
}

function enter(secret: string, workflowId?: string): void {
  const claims = readClaims(secret);
  session.set({
    state: "signed-in",
    as: claims === undefined ? "key" : "guest",
    api: createApi(async () => secret),
    tenant: claims?.tenant,
    workflowId: workflowId ?? claims?.workflowIds[0],
    includesVariables: claims?.includesVariables ?? true,
    expiresMs: claims?.expiresMs,
    secret: () => secret,
  });
}

function recall(): string | undefined {
  try {
    return sessionStorage.getItem(place) ?? undefined;
  } catch {
    return undefined; // storage is switched off
  }
}

function remember(secret: string): void {
  try {
    sessionStorage.setItem(place, secret);
  } catch {
    // Storage is switched off: it is kept in memory alone.
  }
}

function forget(): void {
  try {
    sessionStorage.removeItem(place);
  } catch {
    // Nothing was stored.
  }
}
