/** Entries that say who wrote them and their number with the writer, and a reader's check that it gets each once and in order. */
export const numbered = (writer: number, entry: number, bytes: number): string =>
  `${writer} ${entry} `.padEnd(bytes, "x");

/** What one reader got of the writers that it hears. */
export class EntryCheck {
  readonly #next = new Map<number, number>();
  entries = 0;
  /** Left out, and never made up for. */
  lost = 0;
  /** Told again, or after a later one. */
  doubled = 0;

  /** Of the text of an entry; what is none is no entry. */
  hear(text: string): boolean {
    const found = /^(\d+) (\d+) /.exec(text);
    if (found === null) return false;
    const writer = Number(found[1]);
    const entry = Number(found[2]);
    const next = this.#next.get(writer) ?? 0;
    if (entry < next) {
      this.doubled++;
      return true;
    }
    this.entries++;
    this.lost += entry - next;
    this.#next.set(writer, entry + 1);
    return true;
  }

  /** How many of so many entries of a writer have not come yet, if none was left out. */
  missing(writer: number, entries: number): number {
    return Math.max(0, entries - (this.#next.get(writer) ?? 0));
  }
}
