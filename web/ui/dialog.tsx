/** A button that opens a dialog of the browser's own: it takes the focus, closes with Escape, and gives the focus back. */
import { type ReactNode, useRef, useState } from "react";
import { Button } from "./controls.tsx";

export function DialogButton({
  label,
  title,
  children,
}: {
  readonly label: string;
  readonly title: string;
  /** Made when it opens. */
  readonly children: () => ReactNode;
}): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const [open, setOpen] = useState(false);
  return (
    <>
      <Button
        onClick={() => {
          setOpen(true);
          dialog.current?.showModal();
        }}
      >
        {label}
      </Button>
      <dialog ref={dialog} aria-label={title} onClose={() => setOpen(false)}>
        <header>
          <h2>{title}</h2>
          <Button tone="quiet" aria-label="Close" onClick={() => dialog.current?.close()}>
            ✕
          </Button>
        </header>
        {open ? children() : null}
      </dialog>
    </>
  );
}
