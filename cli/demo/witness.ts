/** Counts what was really received and judges it: every offset of the tree once and in order, and an end. */
import type { FollowItem } from "../../client/index.ts";

export interface Verdict {
  readonly complete: boolean;
  readonly events: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
  /** Offsets that were skipped. */
  readonly missing: number;
  /** Offsets that came again, or too late. */
  readonly duplicates: number;
  /** Offsets that the server declared lost. */
  readonly trimmed: number;
  readonly ended: boolean;
}

export class Witness {
  #events = 0;
  #first = 0;
  #last = 0;
  #missing = 0;
  #duplicates = 0;
  #trimmed = 0;
  #final: number | undefined;

  see(item: FollowItem): void {
    if (item.kind === "events") for (const { offset } of item.events) this.#see(Number(offset));
    if (item.kind === "gap") this.#trimmed += Number(item.gap.toOffset - item.gap.fromOffset) + 1;
    if (item.kind === "ended") this.#final = Number(item.ended.finalOffset);
  }

  verdict(): Verdict {
    const missing = this.#missing + Math.max(0, (this.#final ?? 0) - this.#last);
    const ended = this.#final !== undefined;
    return {
      complete: ended && this.#events > 0 && missing + this.#duplicates + this.#trimmed === 0,
      events: this.#events,
      firstOffset: this.#first,
      lastOffset: this.#last,
      missing,
      duplicates: this.#duplicates,
      trimmed: this.#trimmed,
      ended,
    };
  }

  #see(offset: number): void {
    this.#events += 1;
    if (offset <= this.#last) {
      this.#duplicates += 1;
      return;
    }
    this.#missing += offset - this.#last - 1;
    if (this.#first === 0) this.#first = offset;
    this.#last = offset;
  }
}

export function toSentence(verdict: Verdict): string {
  const { events, firstOffset, lastOffset, missing, duplicates, trimmed, ended } = verdict;
  const seen = `${events} events, offsets ${firstOffset}–${lastOffset}`;
  if (verdict.complete) return `complete: ${seen}, no gap`;
  const wrong = [
    missing > 0 ? `${missing} missing` : "",
    trimmed > 0 ? `${trimmed} trimmed` : "",
    duplicates > 0 ? `${duplicates} twice` : "",
    ended ? "" : "no end",
  ];
  return `incomplete: ${[seen, ...wrong.filter((text) => text !== "")].join(", ")}`;
}
