/**
 * Which rows of a long list are in the page: those in sight and a few around them. All rows have one height, so this costs the
 * same for ten as for a hundred thousand (a library that measures rows walks over all of them at each change).
 */
import { type RefObject, useLayoutEffect, useRef, useState } from "react";

const around = 8;

export interface Rows<E extends HTMLElement> {
  readonly scroller: RefObject<E | null>;
  /** Of the list, px. */
  readonly height: number;
  /** Rows that there is room for. */
  readonly seen: number;
  /** Indexes of the rows to draw. */
  readonly shown: readonly number[];
}

export function useRows<E extends HTMLElement>(
  count: number,
  rowHeight: number,
  { atEnd = false }: { readonly atEnd?: boolean } = {},
): Rows<E> {
  const scroller = useRef<E>(null);
  const [view, setView] = useState({ first: 0, seen: 0 });
  useLayoutEffect(() => {
    const { current } = scroller;
    if (current === null) return;
    const look = () => {
      const first = Math.floor(current.scrollTop / rowHeight);
      const seen = Math.ceil(current.clientHeight / rowHeight) + 1;
      setView((before) => (before.first === first && before.seen === seen ? before : { first, seen }));
    };
    look();
    const observer = new ResizeObserver(look);
    observer.observe(current);
    current.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      current.removeEventListener("scroll", look);
    };
  }, [rowHeight]);
  // At the end the rows are known before the list was scrolled there.
  const top = atEnd ? count : Math.min(view.first, count);
  const first = Math.max(0, Math.min(top, count - view.seen) - around);
  const last = Math.min(count, top + view.seen + around);
  const shown = Array.from({ length: Math.max(0, last - first) }, (_, at) => first + at);
  return { scroller, height: count * rowHeight, seen: view.seen, shown };
}
