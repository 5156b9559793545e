/** What one reader was told of its scope, over all its connections, compactly: where it began, what came, how it ended. */
import type { EventType } from "../../../gen/tributary/v1/event_pb.ts";
import type { Branch } from "./forest.ts";

export type Scope =
  /** Of a root: the whole tree. */
  | { readonly kind: "subtree"; readonly branch: Branch }
  | { readonly kind: "workflow"; readonly branch: Branch }
  | { readonly kind: "task"; readonly branch: Branch; readonly task: string };

export interface Reading {
  readonly scope: Scope;
  /** Only these; empty: all. */
  readonly types: readonly EventType[];
  readonly tasks: readonly string[];
  readonly start: "beginning" | "latest";
}

/** An event as every protocol tells it. */
export interface ToldEvent {
  readonly offset: number;
  readonly workflowId: string;
  readonly task: string;
  readonly type: number;
  readonly sequence: number;
  readonly text: string;
}

export type Told =
  | { readonly kind: "opened"; readonly startOffset: number; readonly epoch: number }
  | { readonly kind: "events"; readonly events: readonly ToldEvent[] }
  | { readonly kind: "heartbeat"; readonly offset: number }
  /** The state at this offset was told, in place of the changes up to it. */
  | { readonly kind: "snapshot"; readonly offset: number }
  | { readonly kind: "gap"; readonly from: number; readonly to: number }
  | { readonly kind: "closing"; readonly reconnectAfterMs: number }
  | { readonly kind: "ended"; readonly finalOffset: number };

export class ReaderLog {
  readonly name: string;
  readonly reading: Reading;
  readonly offsets: number[] = [];
  /** Of each event what `digest` makes of it. */
  readonly digests: number[] = [];
  readonly gaps: { readonly from: number; readonly to: number }[] = [];
  /** What a snapshot stood for. */
  readonly covered: { readonly from: number; readonly to: number }[] = [];
  readonly problems: string[] = [];
  /** It has nothing before this; undefined: never opened. */
  start: number | undefined;
  /** Where it resumes. */
  position: number | undefined;
  finalOffset: number | undefined;
  /** It was told that there is nothing more, but not where its scope ended (204 of SSE). */
  endedQuietly = false;
  #epoch: number | undefined;
  #isOpen = false;

  constructor(name: string, reading: Reading) {
    this.name = name;
    this.reading = reading;
  }

  /** A new connection. */
  reconnect(): void {
    this.#isOpen = false;
  }

  endQuietly(): void {
    this.endedQuietly = true;
    this.finalOffset = this.position ?? 0;
  }

  take(told: Told): void {
    if (this.finalOffset !== undefined) this.problems.push(`${told.kind} after the end`);
    if (this.#isOpen === (told.kind === "opened")) this.problems.push(`${told.kind} out of place`);
    this.#isOpen = true;
    switch (told.kind) {
      case "opened":
        if (this.position !== undefined && told.startOffset !== this.position)
          this.problems.push(`opened after ${told.startOffset}, asked for ${this.position}`);
        if (this.#epoch !== undefined && this.#epoch !== told.epoch)
          this.problems.push(`epoch ${told.epoch} after ${this.#epoch}`);
        this.#epoch = told.epoch;
        this.start ??= told.startOffset;
        this.position ??= told.startOffset;
        break;
      case "events":
        for (const event of told.events) {
          this.#moveTo(event.offset, 1);
          this.offsets.push(event.offset);
          this.digests.push(digest(event));
        }
        break;
      case "heartbeat":
        this.#moveTo(told.offset, 0);
        break;
      case "snapshot":
        this.covered.push({ from: (this.position ?? 0) + 1, to: told.offset });
        this.#moveTo(told.offset, 0);
        break;
      case "gap":
        // What lies before it and was not told is not of its scope.
        if (told.from <= (this.position ?? 0) || told.to < told.from)
          this.problems.push(`a gap ${told.from}–${told.to} after ${this.position}`);
        this.gaps.push({ from: told.from, to: told.to });
        this.#moveTo(told.to, 1);
        break;
      case "ended":
        this.finalOffset = told.finalOffset;
        break;
      case "closing":
    }
  }

  #moveTo(offset: number, least: number): void {
    const position = this.position ?? 0;
    if (offset < position + least) this.problems.push(`offset ${offset} after ${position}`);
    this.position = Math.max(position, offset);
  }
}

/** Of everything but the offset; equal events have equal ones. FNV-1a. */
export function digest({ workflowId, task, type, sequence, text }: Omit<ToldEvent, "offset">): number {
  const all = `${workflowId}|${task}|${type}|${sequence}|${text}`;
  let hash = 0x811c9dc5;
  for (let i = 0; i < all.length; i++) hash = Math.imul(hash ^ all.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
