/** The form that asks for a key. */
import { type FormEvent, type ReactNode, useState } from "react";
import { Button } from "../ui/controls.tsx";
import { signIn } from "./session.ts";

export function SignIn({ message }: { readonly message: string }): ReactNode {
  const [problem, setProblem] = useState(message);
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const secret = String(new FormData(event.currentTarget).get("key") ?? "").trim();
    if (secret === "") return setProblem("Paste a key first.");
    setBusy(true);
    const refused = await signIn(secret);
    setBusy(false);
    if (refused !== undefined) setProblem(refused);
  };
  return (
    <main className="sign-in">
      <form onSubmit={(event) => void submit(event)}>
        <h1>
          <span className="brand-sign" aria-hidden="true" /> Tributary
        </h1>
        <p>Live output of workflows and agents. Sign in with an API key of your tenant.</p>
        <label>
          API key or stream token
          <input name="key" type="password" autoComplete="off" spellCheck={false} placeholder="trib_…" />
        </label>
        <p role="alert" className="problem">
          {problem}
        </p>
        <Button tone="primary" type="submit" disabled={busy}>
          {busy ? "Trying it…" : "Sign in"}
        </Button>
        <p className="hint">
          It stays in this tab and goes with it. No key yet? An administrator makes one with{" "}
          <code>tributary key create</code>.
        </p>
      </form>
    </main>
  );
}
