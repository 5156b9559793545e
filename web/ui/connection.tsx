/** Whether what is shown is what is: a word and a sign, told to screen readers when it changes. */
import type { ReactNode } from "react";

export type ConnectionKind = "connecting" | "catching-up" | "live" | "reconnecting" | "ended" | "failed";

const words: Readonly<Record<ConnectionKind, readonly [sign: string, word: string]>> = {
  connecting: ["◌", "connecting"],
  "catching-up": ["↻", "catching up"],
  live: ["●", "live"],
  reconnecting: ["↻", "reconnecting"],
  ended: ["■", "ended"],
  failed: ["✕", "stopped"],
};

export function Connection({ kind }: { readonly kind: ConnectionKind }): ReactNode {
  const [sign, word] = words[kind];
  return (
    <span className={`connection ${kind}`} role="status">
      <span aria-hidden="true" className="sign">
        {sign}
      </span>
      {word}
    </span>
  );
}
