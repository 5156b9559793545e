/** Small parts that all views share. Plain elements of HTML, so that keyboards and screen readers know them. */
import { type ButtonHTMLAttributes, type ReactNode, useState } from "react";

type Tone = "plain" | "primary" | "quiet" | "danger";

export function Button({
  tone = "plain",
  ...rest
}: ButtonHTMLAttributes<HTMLButtonElement> & { readonly tone?: Tone }): ReactNode {
  return <button type="button" {...rest} className={`button ${tone} ${rest.className ?? ""}`} />;
}

/** Says what to do where there is nothing to see. */
export function Empty({
  title,
  children,
  action,
}: {
  readonly title: string;
  readonly children?: ReactNode;
  readonly action?: ReactNode;
}): ReactNode {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children === undefined ? null : <p>{children}</p>}
      {action}
    </div>
  );
}

export function Figure({
  label,
  value,
  note,
}: {
  readonly label: string;
  readonly value: ReactNode;
  readonly note?: ReactNode;
}): ReactNode {
  return (
    <div className="figure">
      <dt>{label}</dt>
      <dd>
        <span className="number">{value}</span> {note === undefined ? null : <small>{note}</small>}
      </dd>
    </div>
  );
}

/** Copies a text, and says that it did. */
export function CopyButton({
  text,
  label = "Copy",
}: {
  readonly text: string;
  readonly label?: string;
}): ReactNode {
  const [said, setSaid] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid("Copied");
    } catch {
      setSaid("Select it and press Ctrl-C"); // the clipboard is closed to pages without TLS
    }
    setTimeout(() => setSaid(""), 2000);
  };
  return (
    <Button tone="quiet" onClick={() => void copy()}>
      <span aria-live="polite">{said === "" ? label : said}</span>
    </Button>
  );
}

export interface TabItem<T extends string> {
  readonly name: T;
  readonly label: string;
}

/** A tab list: arrows move, as readers of screens expect. The panel's id is `<id>-panel`. */
export function Tabs<T extends string>({
  id,
  label,
  items,
  chosen,
  onChoose,
}: {
  readonly id: string;
  readonly label: string;
  readonly items: readonly TabItem<T>[];
  readonly chosen: T;
  readonly onChoose: (name: T) => void;
}): ReactNode {
  const move = (by: number) => {
    const at = items.findIndex(({ name }) => name === chosen);
    const next = items[(at + by + items.length) % items.length];
    if (next === undefined) return;
    onChoose(next.name);
    document.getElementById(`${id}-${next.name}`)?.focus();
  };
  return (
    <div className="tabs" role="tablist" aria-label={label}>
      {items.map(({ name, label: text }) => (
        <button
          key={name}
          type="button"
          role="tab"
          id={`${id}-${name}`}
          aria-selected={name === chosen}
          aria-controls={`${id}-panel`}
          tabIndex={name === chosen ? 0 : -1}
          onClick={() => onChoose(name)}
          onKeyDown={({ key }) => {
            if (key === "ArrowRight") move(1);
            if (key === "ArrowLeft") move(-1);
          }}
        >
          {text}
        </button>
      ))}
    </div>
  );
}
