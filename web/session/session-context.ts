/** Who is signed in, for the views below. */
import { createContext, useContext } from "react";
import type { SignedIn } from "./session.ts";

export const SessionContext = createContext<SignedIn | undefined>(undefined);

export function useSession(): SignedIn {
  const found = useContext(SessionContext);
  if (found === undefined) throw new Error("a view outside of the session");
  return found;
}
