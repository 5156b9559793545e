/**
 * Tokens as text, though several tasks may write at once. A task that writes alone is shown token by token, as one running
 * text. When several write, each one's words are gathered to lines, which are shown when they are worth it or after a
 * moment. Every run begins with the name of its task. Nothing is held for ever: `flush` before other lines are printed.
 */
const worthALine = 60;
const longestHoldMs = 1000;
/** A task that was silent for so long does not write any more, ms. */
const silentMs = 1000;

interface Held {
  readonly heading: string;
  text: string;
}

export class TokenRuns {
  readonly #write: (text: string) => void;
  readonly #held = new Map<string, Held>();
  /** When each task wrote last. */
  readonly #wroteMs = new Map<string, number>();
  /** Whose line is open. */
  #current: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  /** `heading`: what a run of this task begins with; asked for only when one does. */
  add(task: string, text: string, heading: () => string): void {
    if (this.#isAlone(task)) {
      this.#release(task);
      if (this.#current !== task) this.#open(task, heading());
      this.#put(text);
      return;
    }
    const held = this.#held.get(task) ?? { heading: heading(), text: "" };
    this.#held.set(task, held);
    held.text += text;
    if (held.text.length >= worthALine) this.#release(task);
    else this.#timer ??= setTimeout(() => this.#releaseAll(), longestHoldMs);
  }

  /** Shows what is held of a task, or of all, and ends the line. */
  flush(task?: string): void {
    if (task === undefined) this.#releaseAll();
    else this.#release(task);
    this.#endLine();
  }

  #isAlone(task: string): boolean {
    const nowMs = performance.now();
    this.#wroteMs.set(task, nowMs);
    for (const [other, wroteMs] of this.#wroteMs) {
      if (nowMs - wroteMs > silentMs) this.#wroteMs.delete(other);
    }
    return this.#wroteMs.size === 1;
  }

  #releaseAll(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const task of [...this.#held.keys()]) this.#release(task);
  }

  #release(task: string): void {
    const held = this.#held.get(task);
    if (held === undefined) return;
    this.#held.delete(task);
    this.#open(task, held.heading);
    this.#put(held.text);
  }

  #open(task: string, heading: string): void {
    this.#endLine();
    this.#current = task;
    this.#write(heading);
  }

  #put(text: string): void {
    this.#write(text);
    // What follows begins a line, and a line begins with its name.
    if (text.endsWith("\n")) this.#current = undefined;
  }

  #endLine(): void {
    if (this.#current !== undefined) this.#write("\n");
    this.#current = undefined;
  }
}
